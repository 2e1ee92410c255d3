"""Requests that wait: until a partition moves, or until an offset is replicated. Woken, never polled."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Protocol


class Member(Protocol):
    """Who watches for longer than one request."""

    def stir(self) -> None:
        """Something changed that can wait for the next look."""
        ...

    def moved(self) -> None:
        """Something changed that somebody waits for."""
        ...


class Watchers:
    """Long-poll fetches that wait for a partition to move. A wake-up is a hint: look again."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._members: dict[Member, None] = {}

    def join(self, member: Member) -> None:
        self._members[member] = None

    def leave(self, member: Member) -> None:
        self._members.pop(member, None)

    def stir(self) -> None:
        for member in self._members:
            member.stir()

    def add(self, future: asyncio.Future[None]) -> None:
        self._waiting[future] = None

    def discard(self, future: asyncio.Future[None]) -> None:
        self._waiting.pop(future, None)

    def notify(self) -> None:
        for member in self._members:
            member.moved()
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)


class OffsetWaiters:
    """Appends that wait for the high watermark to pass them."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def wait_for(self, offset: int) -> asyncio.Future[None]:
        """A future that is done once `reached(offset)` was called with at least that offset."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (offset, next(self._order), future))
        return future

    def reached(self, offset: int) -> None:
        while self._heap and self._heap[0][0] <= offset:
            future = heapq.heappop(self._heap)[2]
            if not future.done():
                future.set_result(None)

    def fail(self, error: Exception) -> None:
        waiting, self._heap = self._heap, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)
