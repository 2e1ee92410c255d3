"""The leader's side of observers: nodes without a vote that follow the committed log.

An observer names the last entry it has applied; if that entry is this log's too, it gets what was
committed after it, else the whole state. It waits at the leader (long poll) while there is nothing new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from systems.raft.core import RaftCore
from systems.raft.messages import Entry, ObserveReply, ObserveRequest, Snapshot

MAX_ENTRIES: Final = 256


class Observers:
    """`applied` is kept by the owner, who also calls `wake` after every commit and change of role."""

    def __init__(self, core: RaftCore, snapshot: Callable[[], bytes]) -> None:
        self.applied = core.log.snapshot.index
        self._core = core
        self._snapshot = snapshot
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._waits = 0

    def wake(self) -> None:
        for waiting in self._waiting.values():
            _wake(waiting)

    async def observe(self, request: ObserveRequest) -> ObserveReply:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.wait_ms / 1000
        timed_out = False
        while True:
            if not self._core.is_leader:
                return ObserveReply(self._core.term, False, self._core.leader)
            news = self._news(request)
            if news is not None:
                return news
            if timed_out:
                return self._reply()
            timed_out = await self._wait(deadline)

    def _news(self, request: ObserveRequest) -> ObserveReply | None:
        log = self._core.log
        visible = self.applied
        if "zombie-controller-not-fenced" in self._core.config.bugs:
            # The mistake: what no majority has is handed out, and a deposed leader cannot know better.
            visible = log.last_index
        if log.term_at(request.index) != request.term:
            term = log.term_at(self.applied)
            assert term is not None
            return self._reply(snapshot=Snapshot(self.applied, term, self._snapshot()))
        if request.index >= visible:
            return None
        count = min(visible - request.index, MAX_ENTRIES)
        return self._reply(entries=log.after(request.index, count))

    def _reply(self, entries: tuple[Entry, ...] = (), snapshot: Snapshot | None = None) -> ObserveReply:
        return ObserveReply(self._core.term, True, self._core.config.id, entries, snapshot)

    async def _wait(self, deadline: float) -> bool:
        """Until something happens (False) or the deadline (True)."""
        loop = asyncio.get_running_loop()
        self._waits = number = self._waits + 1
        waiting: asyncio.Future[bool] = loop.create_future()
        self._waiting[number] = waiting
        timer = loop.call_at(deadline, _wake, waiting, True)
        try:
            return await waiting
        finally:
            timer.cancel()
            del self._waiting[number]


def _wake(waiting: asyncio.Future[bool], timed_out: bool = False) -> None:
    if not waiting.done():
        waiting.set_result(timed_out)
