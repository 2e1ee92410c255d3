"""When ongoing transactions run out of time (semantics 2.4.5).

Deadlines are intervals on the loop's clock: a skewed wall clock neither shortens nor prolongs a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.node import NodeEnvironment
from systems.broker.transactions.state import Transaction

if TYPE_CHECKING:
    from systems.broker.coordinator_log import Shard

CHECK_INTERVAL_KEY = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
_CHECK_INTERVAL_MS = 500


class Deadlines:
    """One timer for all, and none while nothing is ongoing."""

    def __init__(self, env: NodeEnvironment, expired: Callable[[Any, str], None]) -> None:
        """`expired(shard, transactional id)` is called once per deadline that passed."""
        self._interval_s = int(env.config.get(CHECK_INTERVAL_KEY, _CHECK_INTERVAL_MS)) / 1000
        self._expired = expired
        self._deadlines: dict[Shard[Any], dict[str, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, shard: Shard[Any], txn: Transaction, *, soon: bool = False) -> None:
        """Starts the clock of a transaction that is not running yet; `soon` asks again at the next check."""
        of_shard = self._deadlines.setdefault(shard, {})
        now = asyncio.get_running_loop().time()
        if soon:
            of_shard[txn.transactional_id] = now
        else:
            of_shard.setdefault(txn.transactional_id, now + txn.timeout_ms / 1000)
        self._arm()

    def clear(self, shard: Shard[Any], transactional_id: str) -> None:
        self._deadlines.get(shard, {}).pop(transactional_id, None)

    def forget(self, shard: Shard[Any]) -> None:
        self._deadlines.pop(shard, None)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._check)

    def _check(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for shard, deadlines in list(self._deadlines.items()):
            for transactional_id in [i for i, deadline in deadlines.items() if deadline <= now]:
                del deadlines[transactional_id]
                self._expired(shard, transactional_id)
        if any(self._deadlines.values()):
            self._arm()
