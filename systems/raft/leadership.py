"""Whether a leader still is one: asked of a majority, since no node knows it by itself (Ongaro's thesis, 6.4)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class NotLeader(Exception):
    """This node does not lead (any more). What was proposed may be committed by a later leader, or never."""

    def __init__(self, leader: int) -> None:
        super().__init__(f"not the leader; it may be {leader}")
        self.leader = leader


class Confirmations:
    """The waiters of one leader in one term.

    A follower that answers an append in our term has given no vote in a later one before. So a majority of
    answers to appends sent at or after `asked_ms` leaves no majority that elected somebody before then.
    """

    def __init__(self, others_needed: Callable[[], int]) -> None:
        """`others_needed`: how many other voters make a majority with this node, at the moment."""
        self._others_needed = others_needed
        self._answered: dict[int, float] = {}
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    def since(self, asked_ms: float) -> asyncio.Future[None]:
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._others_needed() == 0:
            confirmed.set_result(None)
        else:
            self._waiting.append((asked_ms, confirmed))
        return confirmed

    def on_reply(self, peer: int, sent_ms: float) -> None:
        """That peer answered, in our term, an append that was sent at that time."""
        if not self._waiting:
            return
        self._answered[peer] = max(sent_ms, self._answered.get(peer, sent_ms))
        needed = self._others_needed()
        if len(self._answered) < needed:
            return
        confirmed_ms = sorted(self._answered.values(), reverse=True)[:needed][-1]
        while self._waiting and self._waiting[0][0] <= confirmed_ms:
            _, confirmed = self._waiting.popleft()
            if not confirmed.done():
                confirmed.set_result(None)

    def fail(self, error: NotLeader) -> None:
        """The term is over."""
        waiting, self._waiting = self._waiting, deque()
        self._answered.clear()
        for _, confirmed in waiting:
            if not confirmed.done():
                confirmed.set_exception(error)
                # Nobody may be waiting any more; that is no unhandled error.
                confirmed.exception()
