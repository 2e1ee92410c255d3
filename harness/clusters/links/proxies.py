"""All links of a cluster, in a thread of their own: the harness's loop has clients to run."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from harness.cluster import How
from harness.clusters.links.connection import Connection, End
from harness.clusters.links.link import Link
from harness.clusters.links.shared import Front
from harness.node import Address

T = TypeVar("T")
HOST = "127.0.0.1"


class Links:
    """Calls come from one thread, and return when they have taken effect. `seed` is for what is drawn."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._links: dict[tuple[str, str], Link] = {}
        self._places: dict[tuple[str, str, Address], asyncio.Future[Address]] = {}
        self._servers: list[asyncio.AbstractServer] = []
        self._connections: dict[int, Connection] = {}
        self._number = 0
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name="links", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def close(self) -> None:
        """Everything is cut off; safe to call twice."""
        if self._loop.is_closed() or not self._thread.is_alive():
            return
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            connection.out.reset()
            connection.back.reset()

    # ── proxies ──────────────────────────────────────────────────────────────────────────────────────

    async def open(self, source: str, target: str, address: Address) -> Address:
        """A place that leads from one to the other, at `address`; `Address` of the proxy."""
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._open(source, target, address), self._loop)
        )

    async def to(self, source: str, target: str, address: Address) -> Address:
        """The same, but one place for all who ask for it."""
        key = (source, target, address)
        if key not in self._places:
            self._places[key] = asyncio.ensure_future(self.open(source, target, address))
        # Whoever asks first may be cancelled; the others still wait.
        return await asyncio.shield(self._places[key])

    async def _open(self, source: str, target: str, address: Address) -> Address:
        server = await self._loop.create_server(lambda: self._accept(source, target, address), HOST, 0)
        self._servers.append(server)
        return Address(HOST, server.sockets[0].getsockname()[1])

    def _accept(self, source: str, target: str, address: Address) -> asyncio.Protocol:
        connection = self._connect(source, target, address)
        return End(connection.out, connection.back, connection)

    def _connect(self, source: str, target: str, address: Address) -> Connection:
        self._number = number = self._number + 1
        connection = Connection(number, self._link(source, target), self._link(target, source), address)
        self._connections = {n: c for n, c in self._connections.items() if not c.over} | {number: connection}
        return connection

    async def open_shared(self, target: str, address: Address, source: Callable[[int, int], str]) -> Address:
        """One place that leads to `target` for whoever dials it. `source` says who that is, from the port that it
        dials from and the one that it dialled; called in the thread of the proxies."""

        def made(near: Address, far: Address) -> Connection:
            return self._connect(source(near.port, far.port), target, address)

        async def listen() -> Address:
            server = await self._loop.create_server(lambda: Front(made), HOST, 0)
            self._servers.append(server)
            return Address(HOST, server.sockets[0].getsockname()[1])

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(listen(), self._loop))

    def _link(self, source: str, target: str) -> Link:
        key = (source, target)
        if key not in self._links:
            self._links[key] = Link(source, target, self._rng)
        return self._links[key]

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────

    def cut(self, source: str, target: str, how: How) -> int:
        """How many open connections it concerns."""

        def cut() -> int:
            link = self._link(source, target)
            link.cut = how
            pipes = list(link.pipes.values())
            if how == "reject":
                for pipe in pipes:
                    pipe.reset()
            return len(pipes)

        return self._do(cut)

    def heal(self, source: str, target: str) -> None:
        def heal() -> None:
            link = self._link(source, target)
            was, link.cut = link.cut, None
            if was is None:
                return
            for pipe in list(link.pipes.values()):
                pipe.healed(was)
            for connection in list(self._connections.values()):
                if link in (connection.out.link, connection.back.link):
                    connection.dial()

        self._do(heal)

    def degrade(
        self,
        source: str,
        target: str,
        *,
        latency_ms: float = 0.0,
        jitter_ms: float = 0.0,
        loss: float = 0.0,
        bandwidth_kbps: float = 0.0,
    ) -> None:
        """From now on, in full: all zeroes is a sound link. What is under way keeps its delay."""

        def degrade() -> None:
            link = self._link(source, target)
            link.latency_s, link.jitter_s = latency_ms / 1000, jitter_ms / 1000
            link.loss, link.bytes_per_s = loss, bandwidth_kbps * 125

        self._do(degrade)

    def _do(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result()


def _new_loop() -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
