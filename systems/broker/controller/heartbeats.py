"""BrokerHeartbeat: who is alive, who is caught up, who leaves (semantics 2.1 rule 1).

Sessions live in the active controller's memory: a new one gives every broker a whole session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.controller.elections import Rules, fence, unfence
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import BrokerState, Record


class Heartbeats:
    def __init__(self, log: MetadataLog, rules: Rules, *, session_timeout_ms: int) -> None:
        self._log = log
        self._rules = rules
        self._session_s = session_timeout_ms / 1000
        self._last_contact: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def activate(self) -> None:
        """This controller became the active one."""
        for broker_id in self._log.pending.brokers:
            self.touch(broker_id)

    def deactivate(self) -> None:
        self._last_contact.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def touch(self, broker_id: int) -> None:
        """The broker gave a sign of life."""
        self._last_contact[broker_id] = asyncio.get_running_loop().time()
        if self._timer is None:
            self._arm()

    async def on_broker_heartbeat(self, context: RequestContext, request: Any) -> Any:
        try:
            return await self._heartbeat(context, request)
        except KafkaError as error:
            return messages.response(
                context, error_code=error.code, is_caught_up=False, is_fenced=True, should_shut_down=False
            )

    async def _heartbeat(self, context: RequestContext, request: Any) -> Any:
        self._log.require_active()
        image = self._log.pending
        broker = image.brokers.get(request.broker_id)
        if broker is None:
            raise KafkaError(ErrorCode.broker_id_not_registered, f"broker {request.broker_id}")
        if request.broker_epoch != broker.epoch:
            raise KafkaError(ErrorCode.stale_broker_epoch, f"the broker's epoch is {broker.epoch}")
        self.touch(broker.id)
        leaves = request.want_fence or request.want_shut_down
        caught_up = is_caught_up(broker, request.current_metadata_offset)
        if leaves and not broker.fenced:
            await self._commit(fence(image, self._rules, broker.id))
        elif broker.fenced and caught_up and not leaves:
            await self._commit(unfence(image, self._rules, broker.id))
        else:
            await self._log.confirm_active()
        return messages.response(
            context,
            error_code=ErrorCode.none,
            is_caught_up=caught_up,
            is_fenced=not (self._log.pending.unfenced(broker.id) and self._log.image.unfenced(broker.id)),
            should_shut_down=bool(request.want_shut_down),
        )

    async def _commit(self, records: Sequence[Record]) -> None:
        appended = self._log.append(records)
        if self._timer is None:
            self._arm()
        await self._log.committed(appended)

    def _arm(self) -> None:
        """One timer, for the session that ends first."""
        ends = [
            self._last_contact[b.id] + self._session_s
            for b in self._log.pending.brokers.values()
            if not b.fenced and b.id in self._last_contact
        ]
        if not ends:
            self._timer = None
            return
        self._timer = asyncio.get_running_loop().call_at(min(ends), self._expire)

    def _expire(self) -> None:
        self._timer = None
        if not self._log.active:
            return
        ended_before = asyncio.get_running_loop().time() - self._session_s
        for broker_id in sorted(self._last_contact):
            if self._last_contact[broker_id] > ended_before or not self._log.pending.unfenced(broker_id):
                continue
            try:
                appended = self._log.append(fence(self._log.pending, self._rules, broker_id))
            except KafkaError:
                return
            # Whether it is committed or this controller deposed: nobody waits for it.
            appended.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._arm()


def is_caught_up(broker: BrokerState, metadata_offset: int) -> bool:
    """Whether the broker may be taken (back) into service. In Apache Kafka it must know its registration.
    Here also that it was fenced since: to acknowledge its heartbeats is a lease on what it believes to lead."""
    return metadata_offset >= broker.fenced_at
