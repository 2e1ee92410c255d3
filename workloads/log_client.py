"""A client process of the log workloads: one role in the main phase, any final read at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from harness.workload import Completion, Invocation

Handler = Callable[[Invocation], Awaitable[Completion]]


class Part(Protocol):
    async def close(self) -> None: ...


class LogClient:
    """Dispatches operations by their `f` to the parts that carry them out. A part opens what it needs when
    it is first asked, so that a process of the final phase depends on nothing that it does not use."""

    def __init__(self, handlers: Mapping[str, Handler], parts: tuple[Part, ...]) -> None:
        self._handlers = dict(handlers)
        self._parts = parts

    async def open(self) -> None:
        return None

    async def invoke(self, op: Invocation) -> Completion:
        return await self._handlers[op.f](op)

    async def close(self) -> None:
        for part in self._parts:
            await part.close()
