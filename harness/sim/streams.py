"""asyncio's connection and datagram calls, on the simulated network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from harness.sim.errors import EscapesSimulationError
from harness.sim.loop import SimLoop
from harness.sim.server import SimServer

if TYPE_CHECKING:
    from harness.sim.network import Network


class StreamLoop(SimLoop):
    """The loop with its network, as programs see it."""

    network: Network

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: str | None = None,
        port: int | str | None = None,
        *,
        ssl: Any = None,
        sock: Any = None,
        **ignored: Any,
    ) -> tuple[asyncio.Transport, Any]:
        """`family`, `flags`, `local_addr`, `happy_eyeballs_delay` and the like make no difference here."""
        _refuse_real(ssl, sock, "loop.create_connection")
        if port is None:
            raise ValueError("host and port was not specified and no sock specified")
        process = self.process
        transport = await self.network.connect(process, host or "localhost", int(port))
        protocol = protocol_factory()
        transport.start(protocol)
        return transport, protocol

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], Any],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        sock: Any = None,
        start_serving: bool = True,
        **ignored: Any,
    ) -> SimServer:
        """Listens on all addresses of the process's own host, whichever of them `host` names."""
        _refuse_real(ssl, sock, "loop.create_server")
        process = self.process
        names = [host] if isinstance(host, str) or host is None else list(host)
        for name in names:
            if self.network.resolve(name or "", process.host) is not process.host:
                raise OSError(99, f"Cannot assign requested address: {name!r} is not {process.host.name!r}")
        server = self.network.server(process, [int(port or 0)], protocol_factory)
        if start_serving:
            server.listen()
        return server

    async def create_datagram_endpoint(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], Any],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        *,
        sock: Any = None,
        **ignored: Any,
    ) -> tuple[asyncio.DatagramTransport, Any]:
        """`family`, `reuse_port`, `allow_broadcast` and the like make no difference here."""
        _refuse_real(None, sock, "loop.create_datagram_endpoint")
        process = self.process
        if local_addr is not None and self.network.resolve(local_addr[0], process.host) is not process.host:
            raise OSError(
                99, f"Cannot assign requested address: {local_addr[0]!r} is not {process.host.name!r}"
            )
        port = 0 if local_addr is None else int(local_addr[1])
        transport = self.network.datagram_socket(process, port, remote_addr)
        protocol = protocol_factory()
        transport.start(protocol)
        return transport, protocol

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        return self.resolve(host, port)

    async def getnameinfo(  # type: ignore[override]
        self, sockaddr: tuple[str, int], flags: int = 0
    ) -> tuple[str, str]:
        return self.network.resolve(sockaddr[0], self.process.host).name, str(sockaddr[1])

    def resolve(self, host: str | bytes | None, port: str | int | None) -> list[Any]:
        """What `socket.getaddrinfo` says: one IPv4 stream address."""
        name = host.decode() if isinstance(host, bytes) else host or ""
        found = self.network.resolve(name, self.process.host)
        address = (found.address, int(port or 0))
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., Any], *args: Any
    ) -> None:
        """Only the harness hears real signals (Ctrl-C); on a simulated host nobody sends any."""
        if self.process.host.name == "harness":
            import signal

            context = self.process.context.copy()
            signal.signal(
                sig, lambda number, frame: cast(None, self.call_soon(callback, *args, context=context))
            )

    def remove_signal_handler(self, sig: int) -> bool:
        if self.process.host.name == "harness":
            import signal

            signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
            return True
        return False


def _refuse_real(ssl: Any, sock: Any, call: str) -> None:
    if ssl:
        raise EscapesSimulationError(f"{call}(ssl=...)", "TLS is not simulated; use plain connections")
    if sock is not None:
        raise EscapesSimulationError(f"{call}(sock=...)", "there are no real sockets; give host and port")
