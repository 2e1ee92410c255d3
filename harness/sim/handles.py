"""Scheduled callbacks, with the interface of `asyncio.Handle` and `asyncio.TimerHandle`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.sim.host import Process
    from harness.sim.loop import SimLoop


class Handle:
    """One callback of one process. `context` None runs it bare: only the simulator's own callbacks."""

    __slots__ = ("args", "callback", "context", "process")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None, process: Process
    ) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.context = context
        self.process = process

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None


class TimerHandle(Handle):
    """A callback with a due time."""

    __slots__ = ("_loop", "when_ns")

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context | None,
        process: Process,
        when_ns: int,
        loop: SimLoop,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.process = process
        self.when_ns = when_ns
        self._loop = loop

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self.args = ()
            self._loop.timer_cancelled()

    def when(self) -> float:
        return self.when_ns / 1e9
