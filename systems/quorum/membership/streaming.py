"""What a node gains it fetches, page by page, from a quorum of those who have it (semantics 2.7).

Each source is at the epoch that this node fetches for: whoever has answered takes no more part in the epoch before, so
that no write of that one can complete which was not fetched.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right

from harness.node import NodeEnvironment
from systems.quorum.liveness import Liveness
from systems.quorum.membership.messages import Fetch, Fetched
from systems.quorum.membership.placement import Placement, meeting
from systems.quorum.membership.service import Membership
from systems.quorum.messages import Store
from systems.quorum.replica import Replica
from systems.quorum.storage import Storage

PAGE = 64
RETRY_S = 0.2


class Streaming:
    def __init__(
        self,
        env: NodeEnvironment,
        membership: Membership,
        storage: Storage,
        replica: Replica,
        liveness: Liveness,
    ) -> None:
        self._env = env
        self._membership = membership
        self._storage = storage
        self._replica = replica
        self._liveness = liveness
        self._need = meeting(env.config)
        if "stream-from-wrong-replica" in env.bugs:
            self._need = 1
        self._fetched_epoch = 0

    @property
    def complete(self) -> bool:
        """Whether this node has all that it gains by the change under way."""
        state = self._membership.state
        if state.stage != "streaming" or self._fetched_epoch == state.epoch:
            return True
        return self._env.name not in self._membership.placement.gainers()

    async def run(self) -> None:
        while True:
            self._membership.changed.clear()
            if not self.complete and self._membership.serving:
                await self._fetch_all(self._membership.placement)
            if self.complete or not self._membership.serving:
                await self._membership.changed.wait()

    async def _fetch_all(self, placement: Placement) -> None:
        """Until it is done, or the ring is another one."""
        completed: list[str] = []
        cells = 0
        state = placement.state
        while self._membership.epoch == placement.epoch:
            for source in state.members:
                if source in (*completed, *state.lost, self._env.name) or not self._liveness.alive(source):
                    continue
                if placement.fetched(self._env.name, completed.__contains__, self._need):
                    break
                fetched = await self._fetch_from(source, placement)
                if fetched is not None:
                    completed.append(source)
                    cells += fetched
            if placement.fetched(self._env.name, completed.__contains__, self._need):
                self._env.emit("ranges-fetched", epoch=placement.epoch, sources=completed, cells=cells)
                self._env.step("store.ranges.fetched")
                self._fetched_epoch = placement.epoch
                return
            await asyncio.sleep(RETRY_S)

    async def _fetch_from(self, source: str, placement: Placement) -> int | None:
        """How many cells came; None where the source did not answer to the end."""
        after, cells = "", 0
        while True:
            try:
                page: Fetched = await self._membership.ask(
                    source, Fetch(placement.epoch, self._env.name, after)
                )
            except (OSError, TimeoutError):
                return None
            stores = [self._replica.store(Store(key, cell, purpose="stream")) for key, cell in page.cells]
            await asyncio.gather(*stores)
            cells += len(page.cells)
            if page.last:
                return cells
            after = page.cells[-1][0]

    async def on_fetch(self, request: Fetch) -> Fetched:
        """Only from ranges that this node keeps: of the others it may know less than nothing."""
        placement, here = self._membership.placement, self._env.name
        keys = sorted(self._storage.cells)
        page: list[str] = []
        at = bisect_right(keys, request.after) if request.after else 0
        while at < len(keys) and len(page) < PAGE:
            key = keys[at]
            at += 1
            if placement.gains(request.node, key) and here in placement.readers(key):
                page.append(key)
        held = tuple((key, self._storage.cells[key]) for key in page)
        for key in page:
            await self._storage.settled(key)
        return Fetched(held, at >= len(keys))
