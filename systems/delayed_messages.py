"""Messages of one direction of a link that a fault holds back by their kind (`harness.node.MessageDelays`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from harness.node import MessageDelays


class DelayedMessages:
    """Each kind keeps its own order; all others overtake it."""

    def __init__(self, faults: MessageDelays, source: str, target: str) -> None:
        self.active = faults.link(source, target)
        self.queues: dict[str, deque[tuple[float, Callable[[], None]]]] = {}
        self._draw_s = faults.draw_s

    def holds(self, kind: str, deliver: Callable[[], None]) -> bool:
        """True where it is delivered later. Behind a message of its kind that still waits it waits, too."""
        delay, queue = self.active.get(kind), self.queues.get(kind)
        if delay is None and queue is None:
            return False
        loop = asyncio.get_running_loop()
        due = loop.time() + (0.0 if delay is None else self._draw_s(delay))
        if queue is None:
            queue = self.queues[kind] = deque()
        else:
            due = max(due, queue[-1][0])
        queue.append((due, deliver))
        loop.call_at(due, self._next, kind)
        return True

    async def passed(self, kind: str) -> None:
        """Returns when a message of that kind may go on."""
        if not self.active and not self.queues:
            return
        due = asyncio.Event()
        if self.holds(kind, due.set):
            await due.wait()

    def _next(self, kind: str) -> None:
        queue = self.queues[kind]
        _, deliver = queue.popleft()
        if not queue:
            del self.queues[kind]
        deliver()
