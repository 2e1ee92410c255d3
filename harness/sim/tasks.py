"""Tasks and futures whose hash is a number of their loop, so that sets of them iterate in a defined order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from harness.sim.host import Process

T = TypeVar("T")


class SimFuture(asyncio.Future[T]):
    """A future of a simulated loop, which sets `number` at once."""

    __slots__ = ("number",)
    number: int

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[T]):
    """A task of a simulated loop and of one process."""

    __slots__ = ("number", "process")
    number: int
    process: Process

    def __init__(
        self, coro: Any, *, number: int, process: Process, loop: Any, name: str, context: Any
    ) -> None:
        # First, because asyncio puts the task into a set while it is being made.
        self.number = number
        self.process = process
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.number
