"""Listening on a simulated host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.sim.host import Process
from harness.sim.transport import SimSocket

if TYPE_CHECKING:
    from harness.sim.network import Network


class SimServer(asyncio.AbstractServer):
    """Implements `asyncio.Server` for one process. Closing it leaves accepted connections alone."""

    def __init__(
        self, network: Network, process: Process, ports: Sequence[int], protocol_factory: Callable[[], Any]
    ) -> None:
        self._network = network
        self.process = process
        self.ports = tuple(ports)
        self.protocol_factory = protocol_factory
        self._serving = False
        self._closed = False
        self._closed_waiters: list[asyncio.Future[None]] = []

    async def start_serving(self) -> None:
        self.listen()

    def listen(self) -> None:
        if not self._serving and not self._closed:
            self._network.listen(self)
            self._serving = True

    def is_serving(self) -> bool:
        return self._serving

    @property
    def sockets(self) -> tuple[SimSocket, ...]:
        if self._closed:
            return ()
        return tuple(SimSocket((self.process.host.address, port)) for port in self.ports)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._serving = False
        self._network.unlisten(self)
        for waiter in self._closed_waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_closed(self) -> None:
        return None

    async def serve_forever(self) -> None:
        self.listen()
        waiter = self._network.loop.create_future()
        self._closed_waiters.append(waiter)
        try:
            await waiter
            raise asyncio.CancelledError
        finally:
            self.close()

    async def __aenter__(self) -> SimServer:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
