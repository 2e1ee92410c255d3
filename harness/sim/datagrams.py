"""Datagrams: each finds its own way, and may be lost, doubled or overtaken; nobody is told.

A datagram over a silent link, to a machine without power or into a full receive buffer is gone. Where nobody listens,
or the link rejects, a connected sender hears of it (`error_received`), as ICMP has it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from harness.sim.choices import DATAGRAM_DUPLICATED, DATAGRAM_LATE, DATAGRAM_LOST
from harness.sim.host import DEAD, Host, Process
from harness.sim.transport import Endpoint, SimSocket

if TYPE_CHECKING:
    from harness.sim.link import Link
    from harness.sim.network import Network

MAX_SIZE: Final = 65_507
RECEIVE_BUFFER: Final = 212_992
"""Bytes that wait for a program, as Linux has it by default; what comes on top is dropped."""
LATEST_NS: Final = 50_000_000
"""How much later than others a datagram may come that is overtaken."""


class SimDatagramTransport(asyncio.DatagramTransport):
    """One socket of one process. `number` is its own in the trace."""

    __slots__ = (
        "_closing",
        "_context",
        "_local",
        "_network",
        "_protocol",
        "_remote",
        "number",
        "process",
        "waiting",
    )

    def __init__(
        self, network: Network, process: Process, number: int, port: int, remote: tuple[Host, int] | None
    ) -> None:
        super().__init__()
        self._network = network
        self.process = process
        self.number = number
        self._local = (process.host.address, port)
        self._remote = remote
        self._protocol: Any = None
        self._context = process.context
        self._closing = False
        self.waiting = 0
        """Bytes in the receive buffer."""

    def start(self, protocol: Any) -> None:
        """Connects the protocol; called in the process's own callback."""
        self._protocol = protocol
        self._context = copy_context()
        protocol.connection_made(self)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """To `addr`, or to the remote address that the endpoint was made with; `socket.gaierror` for a name
        that is no host."""
        if self._closing or self.process.state == DEAD:
            return
        host, port = self._target(addr)
        if len(data) > MAX_SIZE:
            self.tell(OSError(errno.EMSGSIZE, "Message too long"))
            return
        self._network.datagrams.send(self, host, port, bytes(data))

    def _target(self, addr: tuple[str, int] | None) -> tuple[Host, int]:
        if addr is None:
            if self._remote is None:
                raise ValueError("sendto() needs an address: the endpoint has no remote one")
            return self._remote
        given = self._network.resolve(addr[0], self.process.host), int(addr[1])
        if self._remote is not None and given != self._remote:
            raise ValueError(f"Invalid address: must be None or {self._remote[0].name, self._remote[1]}")
        return given

    @property
    def connected(self) -> bool:
        return self._remote is not None

    def receives_from(self, source: Endpoint) -> bool:
        """A connected socket hears its peer only."""
        return self._remote is None or (self._remote[0].address, self._remote[1]) == source

    def receive(self, data: bytes, source: Endpoint) -> bool:
        """A datagram reached this host's kernel; False where its buffer is full."""
        if self.waiting + len(data) > RECEIVE_BUFFER:
            return False
        self.waiting += len(data)
        self._soon(self._feed, data, source)
        return True

    def _feed(self, data: bytes, source: Endpoint) -> None:
        self.waiting -= len(data)
        if not self._closing:
            self._protocol.datagram_received(data, source)

    def tell(self, error: OSError) -> None:
        if not self._closing:
            self._soon(self._protocol.error_received, error)

    def _soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._network.loop.call_soon(callback, *args, context=self._context)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What was sent is on its way."""
        if self._closing or self.process.state == DEAD:
            return
        self._closing = True
        self._network.datagrams.forget(self)
        self._soon(self._protocol.connection_lost, None)

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        remote = None if self._remote is None else (self._remote[0].address, self._remote[1])
        match name:
            case "sockname":
                return self._local
            case "peername":
                return remote if remote is not None else default
            case "socket":
                return SimSocket(self._local, remote)
        return default

    @property
    def local(self) -> Endpoint:
        return self._local


class Datagrams:
    """The sockets of all hosts, and what is under way between them."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sockets: dict[tuple[str, int], SimDatagramTransport] = {}
        self._made = 0
        self._held: dict[tuple[str, str], list[_Datagram]] = {}

    def bind(self, process: Process, port: int, remote: tuple[Host, int] | None) -> SimDatagramTransport:
        bound = port or process.host.ephemeral_port()
        if (process.host.name, bound) in self._sockets:
            raise OSError(
                errno.EADDRINUSE,
                f"error while attempting to bind on address ('{process.host.address}', {bound}): "
                "address already in use",
            )
        self._made += 1
        transport = SimDatagramTransport(self._network, process, self._made, bound, remote)
        self._sockets[process.host.name, bound] = transport
        return transport

    def forget(self, transport: SimDatagramTransport) -> None:
        key = (transport.process.host.name, transport.local[1])
        if self._sockets.get(key) is transport:
            del self._sockets[key]

    def process_died(self, process: Process) -> None:
        for key in [k for k, socket in self._sockets.items() if socket.process is process]:
            process.graveyard.append(self._sockets.pop(key))

    def heal(self, link: Link) -> None:
        """What a link had only held back arrives now."""
        for datagram in self._held.pop(link.key, ()):
            self._launch(datagram)

    def send(self, sender: SimDatagramTransport, target: Host, port: int, data: bytes) -> None:
        network = self._network
        link = network.link(sender.process.host.name, target.name)
        datagram = _Datagram(sender, link, target, port, data)
        if network.tracer is not None:
            source_name, target_name = link.key
            datagram.line = network.tracer.sent(
                network.loop.now_ns, source_name, target_name, sender.number, "datagram", len(data)
            )
        if link.datagram_loss and network.choices.uniform(DATAGRAM_LOST) < link.datagram_loss:
            return
        self._launch(datagram)
        if link.duplicate and network.choices.uniform(DATAGRAM_DUPLICATED) < link.duplicate:
            self._launch(datagram)

    def _launch(self, datagram: _Datagram) -> None:
        network, link = self._network, datagram.link
        if link.cut == "hold":
            self._held.setdefault(link.key, []).append(datagram)
            return
        if link.cut == "reject":
            self._refuse(datagram)
            return
        delay = link.latency_ns() + link.transmission_ns(len(datagram.data))
        if link.reorder and network.choices.uniform(DATAGRAM_LATE) < link.reorder:
            delay += int(LATEST_NS * network.choices.uniform(DATAGRAM_LATE))
        network.loop.kernel_timer(network.loop.now_ns + delay, self._arrive, datagram)

    def _arrive(self, datagram: _Datagram) -> None:
        network, link, target = self._network, datagram.link, datagram.target
        if link.cut == "hold":
            self._held.setdefault(link.key, []).append(datagram)
            return
        if link.cut is not None or not target.powered:
            return
        socket = self._sockets.get((target.name, datagram.port))
        if socket is None:
            self._refuse(datagram)
            return
        source = datagram.sender.local
        if not socket.receives_from(source) or not socket.receive(datagram.data, source):
            return
        size = len(datagram.data)
        network.loop.trace.words.append(socket.number << 32 | size)
        if network.tracer is not None:
            source_name, target_name = link.key
            network.tracer.delivered(
                network.loop.now_ns, source_name, target_name, datagram.sender.number, size, datagram.line
            )

    def _refuse(self, datagram: _Datagram) -> None:
        """The way back must be open, too; only a connected socket is told."""
        sender, network = datagram.sender, self._network
        back = network.link(datagram.target.name, sender.process.host.name)
        if not sender.connected or back.cut is not None or sender.process.state == DEAD:
            return
        error = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        network.loop.kernel_timer(network.loop.now_ns + back.latency_ns(), sender.tell, error)


class _Datagram:
    __slots__ = ("data", "line", "link", "port", "sender", "target")

    def __init__(
        self, sender: SimDatagramTransport, link: Link, target: Host, port: int, data: bytes
    ) -> None:
        self.sender = sender
        self.link = link
        self.target = target
        self.port = port
        self.data = data
        self.line = 0
