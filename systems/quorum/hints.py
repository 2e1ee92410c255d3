"""Hinted handoff: what a node missed is brought to it when it is back.

A hint goes away only when its target has it on disk. It is an optimisation: convergence does not depend on it. One
that is older than its window, or than gc.grace.ms, would bring back what was deleted, and is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from harness.node import NodeEnvironment
from systems.quorum.liveness import Liveness
from systems.quorum.messages import Store
from systems.quorum.storage import Storage

PAUSE_S = 0.5


class Handoff:
    def __init__(
        self,
        env: NodeEnvironment,
        storage: Storage,
        liveness: Liveness,
        call: Callable[[str, Any], Awaitable[Any]],
    ) -> None:
        self._env = env
        self._storage = storage
        self._liveness = liveness
        self._call = call
        self._longest_ns = int(env.config["gc.grace.ms"]) * 1_000_000
        self._wake = asyncio.Event()
        liveness.on_alive(lambda peer: self._wake.set())

    async def run(self) -> None:
        while True:
            for number, hint in list(self._storage.hints.items()):
                if self._env.wall_clock.time_ns() - hint.since > self._longest_ns:
                    self._env.emit("hint-expired", target=hint.target)
                    await self._storage.drop_hint(number)
                    continue
                if not self._liveness.alive(hint.target):
                    continue
                message = Store(hint.key, hint.cell, purpose="hint")
                if "hint-deleted-before-ack" in self._env.bugs:
                    await self._storage.drop_hint(number)
                try:
                    await self._call(hint.target, message)
                except (OSError, TimeoutError):
                    continue
                self._env.emit("hint-replayed", target=hint.target)
                await self._storage.drop_hint(number)
            self._wake.clear()
            try:
                async with asyncio.timeout(PAUSE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
