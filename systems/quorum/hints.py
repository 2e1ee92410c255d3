"""Hinted handoff: what a node missed is brought to it when it is back (semantics 2.11).

A hint goes away only when its target has it on disk. It is an optimisation: convergence does not depend on it. One
whose write is older than gc.grace.ms would bring back what was deleted since, and is dropped. Where the target
keeps the key no more, the hint goes to those who do. A node that leaves the ring hands its hints on.
"""

from __future__ import annotations

import asyncio

from harness.node import NodeEnvironment
from systems.quorum.liveness import Liveness
from systems.quorum.membership.service import Membership
from systems.quorum.messages import Store, Stored
from systems.quorum.storage import Hint, Storage

PAUSE_S = 0.5


class Handoff:
    def __init__(
        self,
        env: NodeEnvironment,
        membership: Membership,
        storage: Storage,
        liveness: Liveness,
    ) -> None:
        self._env = env
        self._membership = membership
        self._storage = storage
        self._liveness = liveness
        self._longest_ns = int(env.config["gc.grace.ms"]) * 1_000_000
        self._per_second = int(env.config["hinted.handoff.per.second"])
        self._next_s = 0.0
        self._wake = asyncio.Event()
        liveness.on_alive(lambda peer: self._wake.set())
        membership.on_change(self._wake.set)

    async def run(self) -> None:
        while True:
            for number, hint in list(self._storage.hints.items()):
                if self._too_old(hint):
                    self._env.emit("hint-expired", target=hint.target)
                    await self._storage.drop_hint(number)
                elif await self._delivered(number, hint) or await self._handed_on(hint):
                    await self._storage.drop_hint(number)
            self._wake.clear()
            try:
                async with asyncio.timeout(self._pause_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    @property
    def _pause_s(self) -> float:
        """Not for longer than until the next one is due."""
        return min(PAUSE_S, 1 / self._per_second) if self._per_second and self._storage.hints else PAUSE_S

    def _too_old(self, hint: Hint) -> bool:
        if "hint-replay-after-tombstone-gc" in self._env.bugs:
            return False
        return self._env.wall_clock.time_ns() - hint.since > self._longest_ns

    async def _delivered(self, number: int, hint: Hint) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_s:
            return False
        placement = self._membership.placement
        writers = placement.writers(hint.key)
        targets = (hint.target,) if hint.target in writers else writers
        if not targets or not all(self._liveness.alive(node) for node in targets):
            return False
        message = Store(hint.key, hint.cell, purpose="hint", epoch=placement.epoch)
        if "hint-deleted-before-ack" in self._env.bugs:
            await self._storage.drop_hint(number)
        try:
            for node in targets:
                await self._membership.ask(node, message)
        except (OSError, TimeoutError):
            return False
        self._env.emit("hint-replayed", target=hint.target)
        if self._per_second:
            self._next_s = loop.time() + 1 / self._per_second
        return True

    async def _handed_on(self, hint: Hint) -> bool:
        """Where this node leaves, or has left, to one that stays."""
        state = self._membership.state
        if not state.epoch or state.status(self._env.name) not in ("leaving", "left"):
            return False
        if "decommission-drops-hints" in self._env.bugs:
            return False
        for node in state.target:
            if node == hint.target or not self._liveness.alive(node):
                continue
            message = Store(
                hint.key,
                hint.cell,
                hint_for=hint.target,
                purpose="hint",
                epoch=state.epoch,
                since=hint.since,
            )
            try:
                stored: Stored = await self._membership.ask(node, message)
            except (OSError, TimeoutError):
                continue
            if not stored.error:
                self._env.emit("hint-handed-on", target=hint.target, to=node)
                return True
        return False
