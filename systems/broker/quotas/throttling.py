"""Counts what clients take and says how long each must be silent for it.

As in Kafka a client that takes too much is answered at once and told for how long it is throttled; then its
connection is not listened to for that time (KIP-219). Replicas are never throttled by clients' quotas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from systems.broker.context import Broker, RequestContext
from systems.broker.metadata import MetadataImage, QuotaEntity
from systems.broker.quotas.entities import (
    CONSUMER_BYTE_RATE,
    PRODUCER_BYTE_RATE,
    REQUEST_PERCENTAGE,
    Quota,
    quota_of,
)
from systems.broker.quotas.rate import Rate, throttle_s
from systems.broker.settings import MAX_LONG

_DEFAULTS: Final[Mapping[str, str]] = {
    PRODUCER_BYTE_RATE: "quota.producer.default",
    CONSUMER_BYTE_RATE: "quota.consumer.default",
    REQUEST_PERCENTAGE: "quota.request.percentage.default",
}
REQUEST_COST_S: Final = 100e-6
BYTE_COST_S: Final = 1e-9
"""Kafka measures the time that its threads spend on a request. Here it is estimated, about what a request takes
there: a measured time would differ from one replay of a simulation to the next."""
_KEPT_RATES: Final = 1000

_Shared = tuple[str, str, str]


class Quotas:
    """One broker's. `throttle_ms` of every method is 0 for a client within its bounds."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        config = broker.env.config
        self._replicas = frozenset(node.name for node in broker.env.topology.with_role("broker"))
        self._windows = int(config.get("quota.window.num", 11))
        self._window_s = float(config.get("quota.window.size.seconds", 1))
        self._otherwise = {key: _limit(config.get(name)) for key, name in _DEFAULTS.items()}
        self._limited_by_default = any(limit is not None for limit in self._otherwise.values())
        self._quotas: Mapping[QuotaEntity, Mapping[str, float]] = {}
        self._rates: dict[_Shared, Rate] = {}
        broker.on_image(self._on_image)

    @property
    def active(self) -> bool:
        """Whether anybody is limited in anything."""
        return self._limited_by_default or bool(self._quotas)

    def on_produce(self, context: RequestContext) -> int:
        """A produce request that has been carried out: the longer of what its bytes and its work cost."""
        if not self.active:
            return 0
        return max(
            self._charge(context, PRODUCER_BYTE_RATE, context.size, forgives=False),
            self.on_request(context),
        )

    def on_fetch(self, context: RequestContext, size: int) -> int:
        """A consumer's fetch of so many bytes. Where it is throttled nothing is sent, and nothing counted."""
        if not self.active:
            return 0
        request_ms = self.on_request(context, size)
        fetch_ms = self._charge(context, CONSUMER_BYTE_RATE, size, forgives=True)
        if request_ms and not fetch_ms:
            self._take_back(context, CONSUMER_BYTE_RATE, size)
        return max(request_ms, fetch_ms)

    def on_request(self, context: RequestContext, response_size: int = 0) -> int:
        """Any request: its share of a thread's time."""
        if not self.active or context.client_id in self._replicas:
            return 0
        # Of a second; the quota is in percent.
        cost = 100 * (REQUEST_COST_S + (context.size + response_size) * BYTE_COST_S)
        throttle_ms = self._charge(context, REQUEST_PERCENTAGE, cost, forgives=False)
        return min(throttle_ms, round(self._window_s * 1000))

    def fetch_limit(self, context: RequestContext) -> int:
        """More than this a consumer is never sent at once: it could not be throttled for so much."""
        quota = self._quota(context, CONSUMER_BYTE_RATE) if self.active else None
        if quota is None:
            return MAX_LONG
        return int(quota.bound * self._window_s * (self._windows - 1))

    def _charge(self, context: RequestContext, key: str, amount: float, *, forgives: bool) -> int:
        quota = self._quota(context, key)
        if quota is None:
            return 0
        now = asyncio.get_running_loop().time()
        rate = self._rate(key, quota, now)
        rate.record(amount, now)
        throttled_s = throttle_s(rate.measure(now), quota.bound)
        if throttled_s <= 0:
            return 0
        if forgives:
            rate.record(-amount, now)
        throttle_ms = max(round(throttled_s * 1000), 1)
        self._broker.env.emit(
            "client-throttled", client=context.client_id or "", quota=key, throttle_ms=throttle_ms
        )
        return throttle_ms

    def _take_back(self, context: RequestContext, key: str, amount: float) -> None:
        quota = self._quota(context, key)
        if quota is not None:
            now = asyncio.get_running_loop().time()
            self._rate(key, quota, now).record(-amount, now)

    def _quota(self, context: RequestContext, key: str) -> Quota | None:
        return quota_of(context.client_id or "", key, self._quotas, self._otherwise[key])

    def _rate(self, key: str, quota: Quota, now: float) -> Rate:
        shared = (key, quota.user, quota.client_id)
        rate = self._rates.get(shared)
        if rate is None:
            if len(self._rates) >= _KEPT_RATES:
                self._rates = {name: rate for name, rate in self._rates.items() if not rate.idle(now)}
            rate = self._rates[shared] = Rate(self._windows, self._window_s)
        return rate

    def _on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        if new.quotas is not old.quotas:
            self._quotas = {each.entity: each.values for each in new.quotas}


def _limit(value: Any) -> float | None:
    return None if not value or value >= MAX_LONG else float(value)
