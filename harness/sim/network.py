"""The network: hosts by name, directed links, listeners, and how a connection comes about.

A connect needs both ways: SYN there, SYN-ACK back. Across a silent link it waits, is sent again after
the heal, and fails with a time-out; a rejecting link, or a machine where nobody listens, refuses it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from harness.cluster import How
from harness.sim.choices import RETRANSMIT, Choices
from harness.sim.datagrams import Datagrams, SimDatagramTransport
from harness.sim.handles import Handle
from harness.sim.host import DEAD, Host, Process
from harness.sim.link import Link
from harness.sim.loop import SimLoop
from harness.sim.pipe import Pipe
from harness.sim.server import SimServer
from harness.sim.settings import Physics
from harness.sim.trace import TraceWriter
from harness.sim.transport import SimTransport

_LOCAL_NAMES: Final = frozenset({"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})


class _Attempt:
    """A connect under way."""

    __slots__ = ("done", "parked", "port", "process", "target", "timeout")

    def __init__(self, process: Process, target: Host, port: int, done: asyncio.Future[SimTransport]) -> None:
        self.process = process
        self.target = target
        self.port = port
        self.done = done
        self.parked = False
        self.timeout: Handle | None = None

    @property
    def over(self) -> bool:
        return self.done.done() or self.process.state == DEAD

    def fail(self, error: OSError) -> None:
        if not self.over:
            self.done.set_exception(error)


class Network:
    """All hosts and everything between them."""

    def __init__(self, loop: SimLoop, choices: Choices, physics: Physics) -> None:
        self.loop = loop
        self.choices = choices
        self.physics = physics
        self.tracer: TraceWriter | None = None
        self.hosts: dict[str, Host] = {}
        self.connections: dict[int, tuple[SimTransport, SimTransport]] = {}
        self.on_late_delivery: Callable[[dict[str, Any]], None] = lambda fields: None
        self._connections_made = 0
        self._by_address: dict[str, Host] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._listeners: dict[tuple[str, int], SimServer] = {}
        self._parked: list[_Attempt] = []
        self.datagrams = Datagrams(self)

    # hosts and names

    def add(self, host: Host) -> None:
        self.hosts[host.name] = host
        self._by_address[host.address] = host

    def resolve(self, name: str, asker: Host) -> Host:
        """By name or address; raises `socket.gaierror` as a resolver would."""
        if name in _LOCAL_NAMES:
            return asker
        host = self.hosts.get(name) or self._by_address.get(name)
        if host is None:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {name!r} is no host here")
        return host

    def link(self, source: str, target: str) -> Link:
        key = (source, target)
        link = self._links.get(key)
        if link is None:
            link = Link(
                self.hosts[source], self.hosts[target], self.choices, self.physics, lambda: self.loop.now_ns
            )
            self._links[key] = link
        return link

    # faults

    def cut(self, source: str, target: str, how: How) -> int:
        """Returns how many open connections it concerns."""
        link = self.link(source, target)
        link.cut = how
        link.cuts += 1
        pipes = self._pipes(lambda p: p.link is link)
        for pipe in pipes:
            pipe.link_cut()
        if how == "reject":
            self._retry_parked(lambda a: (a.process.host.name, a.target.name) == link.key, prompt=True)
        return len(pipes)

    def heal(self, source: str, target: str) -> None:
        link = self.link(source, target)
        prompt = link.cut == "hold"
        link.cut = None
        for pipe in self._pipes(lambda p: p.link is link):
            pipe.link_open(prompt=prompt)
        self.datagrams.heal(link)
        names = {source, target}
        self._retry_parked(lambda a: {a.process.host.name, a.target.name} == names, prompt=prompt)

    def power_on(self, host: Host) -> None:
        host.powered = True
        for pipe in self._pipes(lambda p: p.receiver.host is host and p.link.cut is None):
            pipe.link_open(prompt=False)
        self._retry_parked(lambda a: a.target is host, prompt=False)

    def process_died(self, process: Process, *, power_lost: bool) -> int:
        """Its listeners are gone; its kernel closes its connections. Returns how many there were."""
        for key in [k for k, server in self._listeners.items() if server.process is process]:
            del self._listeners[key]
        self.datagrams.process_died(process)
        endpoints = list(process.endpoints)
        process.endpoints.clear()
        for endpoint in endpoints:
            endpoint.process_died(power_lost=power_lost)
        return len(endpoints)

    def _pipes(self, wanted: Callable[[Pipe], bool]) -> list[Pipe]:
        return [end.pipe for ends in self.connections.values() for end in ends if wanted(end.pipe)]

    def forget_if_over(self, end: SimTransport) -> None:
        """Drops a connection that both programs are done with and that carries nothing more."""
        ends = self.connections.get(end.connection)
        if ends is not None and all(e.closed and e.pipe.empty for e in ends):
            del self.connections[end.connection]
            for one in ends:
                one.let_go_of_peer()

    def delivered_late(self, pipe: Pipe, size: int, delay_ns: int) -> None:
        source, target = pipe.link.key
        self.on_late_delivery(
            {
                "source": source,
                "target": target,
                "bytes": size,
                "delayed_ms": delay_ns // 1_000_000,
                "abandoned": pipe.sender.closed,
            }
        )

    # listening

    def server(self, process: Process, ports: list[int], protocol_factory: Callable[[], Any]) -> SimServer:
        bound = [port or process.host.ephemeral_port() for port in ports]
        for port in bound:
            if (process.host.name, port) in self._listeners:
                raise OSError(
                    errno.EADDRINUSE,
                    f"error while attempting to bind on address ('{process.host.address}', {port}): "
                    "address already in use",
                )
        return SimServer(self, process, bound, protocol_factory)

    def listen(self, server: SimServer) -> None:
        for port in server.ports:
            self._listeners[server.process.host.name, port] = server

    def unlisten(self, server: SimServer) -> None:
        for port in server.ports:
            if self._listeners.get((server.process.host.name, port)) is server:
                del self._listeners[server.process.host.name, port]

    def datagram_socket(
        self, process: Process, port: int, remote: tuple[str, int] | None
    ) -> SimDatagramTransport:
        to = None if remote is None else (self.resolve(remote[0], process.host), int(remote[1]))
        return self.datagrams.bind(process, port, to)

    # connecting

    async def connect(self, process: Process, name: str, port: int) -> SimTransport:
        """Raises `ConnectionRefusedError`, `TimeoutError` or `socket.gaierror`."""
        target = self.resolve(name, process.host)
        attempt = _Attempt(process, target, port, self.loop.create_future())
        deadline = self.loop.now_ns + self.physics.connect_timeout_ns
        timeout = self.loop.kernel_timer(
            deadline,
            attempt.fail,
            TimeoutError(errno.ETIMEDOUT, f"Connect call failed {target.address, port}"),
        )
        attempt.timeout = timeout
        self._syn(attempt)
        try:
            return await attempt.done
        except asyncio.CancelledError:
            if not attempt.done.cancelled() and attempt.done.exception() is None:
                attempt.done.result().abort()
            raise
        finally:
            timeout.cancel()

    def _syn(self, attempt: _Attempt) -> None:
        if attempt.over:
            return
        link = self.link(attempt.process.host.name, attempt.target.name)
        if link.cut == "reject":
            self._refuse(attempt, link.latency_ns())
        elif self._silent(attempt):
            self._park(attempt)
        else:
            delay = link.latency_ns() + (link.stream_delay_ns(0) if link.flaky else 0)
            self.loop.kernel_timer(self.loop.now_ns + delay, self._syn_arrives, attempt)

    def _silent(self, attempt: _Attempt) -> bool:
        there = self.link(attempt.process.host.name, attempt.target.name)
        back = self.link(attempt.target.name, attempt.process.host.name)
        return there.cut is not None or back.cut is not None or not attempt.target.powered

    def _syn_arrives(self, attempt: _Attempt) -> None:
        if attempt.over:
            return
        if self._silent(attempt):
            self._syn(attempt) if self._rejected(attempt) else self._park(attempt)
            return
        back_ns = self.link(attempt.target.name, attempt.process.host.name).latency_ns()
        server = self._listeners.get((attempt.target.name, attempt.port))
        if server is None:
            self._refuse(attempt, back_ns)
            return
        client = self._open(attempt, server)
        self.loop.kernel_timer(self.loop.now_ns + back_ns, self._established, attempt, client)

    def _rejected(self, attempt: _Attempt) -> bool:
        return self.link(attempt.process.host.name, attempt.target.name).cut == "reject"

    def _open(self, attempt: _Attempt, server: SimServer) -> SimTransport:
        """The two ends. The server's program learns of it when it runs next; its kernel accepts at once."""
        self._connections_made += 1
        number = self._connections_made
        source, target = attempt.process.host, attempt.target
        here = (source.address, source.ephemeral_port())
        there = (target.address, attempt.port)
        client = SimTransport(self, attempt.process, number, here, there)
        accepted = SimTransport(self, server.process, number, there, here)
        client.pipe = accepted.inbound = Pipe(
            self, self.link(source.name, target.name), sender=client, receiver=accepted
        )
        accepted.pipe = client.inbound = Pipe(
            self, self.link(target.name, source.name), sender=accepted, receiver=client
        )
        self.connections[number] = (client, accepted)
        if self.tracer is not None:
            self.tracer.write(
                "connect",
                self.loop.now_ns,
                source=source.name,
                target=target.name,
                port=attempt.port,
                connection=number,
            )
        self.loop.in_process(server.process, self._accept, server, accepted)
        return client

    def _accept(self, server: SimServer, accepted: SimTransport) -> None:
        if not accepted.closed:
            accepted.start(server.protocol_factory())

    def _established(self, attempt: _Attempt, client: SimTransport) -> None:
        if client.closed:
            # The program died, or the connection was reset, before it was told of it.
            attempt.fail(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        elif attempt.done.done():
            client.abort()
        else:
            attempt.done.set_result(client)

    def _refuse(self, attempt: _Attempt, after_ns: int) -> None:
        error = ConnectionRefusedError(
            errno.ECONNREFUSED, f"Connect call failed {attempt.target.address, attempt.port}"
        )
        self.loop.kernel_timer(self.loop.now_ns + after_ns, attempt.fail, error)

    def _park(self, attempt: _Attempt) -> None:
        attempt.parked = True
        self._parked.append(attempt)

    def _retry_parked(self, concerned: Callable[[_Attempt], bool], *, prompt: bool) -> None:
        """SYNs that waited are sent again, at their next retransmission unless `prompt`."""
        waiting = [a for a in self._parked if not a.over]
        retried = [a for a in waiting if concerned(a)]
        self._parked = [a for a in waiting if not concerned(a)]
        for attempt in retried:
            delay = 0
            if not prompt:
                delay = int(self.physics.retransmit_max_ns * self.choices.uniform(RETRANSMIT))
            self.loop.kernel_timer(self.loop.now_ns + delay, self._syn, attempt)
