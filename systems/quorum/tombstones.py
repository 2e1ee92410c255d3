"""When a deletion may be forgotten: at an age, and (by repair) once every replica has it.

Age alone is safe only where every replica was repaired within it and no hint is older. By repair, a replica asks all
N; a node that cannot be asked keeps the tombstone alive everywhere.
"""

from __future__ import annotations

import asyncio

from harness.node import NodeEnvironment
from systems.quorum.membership.service import Membership
from systems.quorum.messages import Read
from systems.quorum.replica import same
from systems.quorum.storage import Storage
from systems.quorum.versions import Cell, tombstone

INTERVAL_S = 1.0


def old_enough(env: NodeEnvironment, cell: Cell) -> bool:
    """Whether it is a tombstone of an age at which it may be forgotten."""
    since = tombstone(cell)
    if since is None:
        return False
    age_ms = int(env.config["gc.grace.ms"])
    if env.config["tombstone.gc"] == "repair":
        age_ms = max(age_ms, int(env.config["max.hint.window.ms"]))
    return env.wall_clock.time_ns() - since >= age_ms * 1_000_000


class Purge:
    def __init__(
        self,
        env: NodeEnvironment,
        membership: Membership,
        storage: Storage,
    ) -> None:
        self._env = env
        self._membership = membership
        self._storage = storage
        self._by_repair = env.config["tombstone.gc"] == "repair"

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self._membership.state.stage != "stable" or not self._membership.serving:
                # Those who fetch a range may have an older value from one source and nothing from another.
                continue
            for key, cell in sorted(self._storage.cells.items(), key=lambda item: item[0]):
                if not old_enough(self._env, cell):
                    continue
                if self._by_repair and not await self._everywhere(key, cell):
                    continue
                if self._storage.cells.get(key) == cell:
                    self._env.emit("tombstone-purged", key=key)
                    await self._storage.keep(key, None)

    async def _everywhere(self, key: str, cell: Cell) -> bool:
        placement = self._membership.placement
        for node in placement.writers(key):
            if node == self._env.name:
                continue
            try:
                found = await self._membership.ask(node, Read(key, placement.epoch))
            except (OSError, TimeoutError):
                if "reap-with-primary-down" in self._env.bugs:
                    continue
                return False
            # One that has purged it already had it.
            if found.cell is not None and not same(found.cell, cell):
                return False
        return placement.epoch == self._membership.epoch
