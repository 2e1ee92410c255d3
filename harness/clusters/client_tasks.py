"""Client hosts without a simulator: who started which task and connection, so that a client can be killed.

A client library starts tasks and opens connections of its own. They inherit the context variable that
says on whose behalf they run; killing a client cancels the tasks and resets the connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar, cast

from harness.client_log import HERE
from harness.node import Address

T = TypeVar("T")

_HOST: ContextVar[TaskHost | None] = ContextVar("client host", default=None)


class TaskHost:
    """`harness.cluster.ClientHost` in the harness's own process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: dict[asyncio.Future[Any], None] = {}
        self._transports: list[asyncio.BaseTransport] = []
        self._promises: dict[asyncio.Future[Any], None] = {}

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        promise: asyncio.Future[T] = loop.create_future()
        context = copy_context()
        context.run(_HOST.set, self)
        context.run(HERE.set, self.name)
        task = loop.create_task(coroutine, context=context)

        def finished(task: asyncio.Task[T]) -> None:
            self._promises.pop(promise, None)
            if promise.done():
                if not task.cancelled():
                    task.exception()
                return
            if task.cancelled():
                promise.set_exception(ConnectionAbortedError(f"client {self.name} was cancelled"))
            elif (error := task.exception()) is not None:
                promise.set_exception(error)
            else:
                promise.set_result(task.result())

        self._promises[promise] = None
        task.add_done_callback(finished)
        return promise

    async def kill(self) -> None:
        promises, self._promises = self._promises, {}
        tasks, self._tasks = self._tasks, {}
        transports, self._transports = self._transports, []
        for transport in transports:
            if not transport.is_closing():
                # A cast: uvloop's transports are no subclass.
                cast(asyncio.Transport, transport).abort()
        for task in tasks:
            task.cancel()
        for promise in promises:
            if not promise.done():
                promise.set_exception(ConnectionAbortedError(f"client {self.name} was killed"))
        await asyncio.sleep(0)

    def own_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda t: self._tasks.pop(t, None))

    def own_transport(self, transport: asyncio.BaseTransport) -> None:
        self._transports = [t for t in self._transports if not t.is_closing()] + [transport]


Route = Callable[[str, Address], Awaitable[Address]]
"""What a client host (by name) dials in place of an address."""


class ClientLoop(asyncio.SelectorEventLoop):
    """Hands every task and every outgoing connection to the client host on whose behalf it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(_make_task)
        self.route: Route | None = None

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any
    ) -> Any:
        here = _HOST.get()
        if here is not None and self.route is not None and host is not None:
            host, port = await self.route(here.name, Address(host, port))
        transport, protocol = await super().create_connection(protocol_factory, host, port, **kwargs)
        if here is not None:
            here.own_transport(transport)
        return transport, protocol


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Any = None, **kwargs: Any
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context, **kwargs)
    host = _HOST.get() if context is None else context.get(_HOST)
    if host is not None:
        host.own_task(task)
    return task
