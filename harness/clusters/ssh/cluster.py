"""The cluster of hosts and what can be broken in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from harness import control, faketime
from harness.cluster import Evidence, How
from harness.clusters.links import Links
from harness.clusters.probes import Firewalls
from harness.clusters.proof import Proofs
from harness.clusters.real import RealCluster
from harness.clusters.ssh.agent import BESIDE, DATA
from harness.clusters.ssh.host import AgentError, SshNode
from harness.clusters.ssh.install import Program
from harness.clusters.ssh.inventory import Host
from harness.clusters.steps import Steps
from harness.errors import UserError
from harness.node import Address, NodeEvent
from harness.process import NodeFile, Port
from harness.run_id import new_run_id
from harness.schedule import MESSAGE_KINDS, THROUGH_ENVIRONMENT
from harness.system import Foreign, System
from harness.topology import Topology

CAPABILITIES = frozenset(
    {
        *("kill", "pause", "partition", "slow", "flaky", MESSAGE_KINDS, "crash-at"),
        *("power", "wipe", "disk-full", "slow-disk", "clock"),
        *("join", "leave", "replace"),
    }
)
OURS = THROUGH_ENVIRONMENT | {"disk-full", "slow", "flaky"}
"""What takes a node program of ours: its disk obeys, and it dials each node where it is told to."""
LAST_LOG_LINES = 8
KILLED = -9
HOST_CLOCK_TOLERANCE_MS = 50.0
"""A program has to be started to set it."""


def capabilities_with(system: System) -> frozenset[str]:
    return CAPABILITIES - OURS if isinstance(system, Foreign) else CAPABILITIES


class SshCluster(RealCluster):
    """`harness.cluster.Cluster`. `run` is the name that everything of it on the hosts carries."""

    def __init__(
        self,
        hosts: Sequence[Host],
        system: System,
        topology: Topology,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path,
    ) -> None:
        super().__init__(topology)
        self.capabilities = capabilities_with(system)
        self.run = new_run_id()
        self._inventory = hosts
        self._system = system
        self._foreign = isinstance(system, Foreign)
        self._config = config
        self._bugs = bugs
        self._seed = seed
        self._folder = folder
        self._nodes: dict[str, SshNode] = {}
        self._relays: dict[tuple[str, str, str], tuple[str, int]] = {}
        """(source, node, use of the port) -> what the source dials: a proxy of that link on its own host."""
        self._without_netem = ""
        """Why proxies make links poor; empty where the hosts' kernels do."""
        self._links = Links(seed)
        """Of clients only."""
        self._steps = Steps(lambda node, arm: self._do_soon(self._nodes[node].request(arm)))
        self._tasks: dict[asyncio.Future[None], None] = {}
        self._proofs = Proofs()
        self._firewalls = Firewalls()

    async def start(self) -> None:
        """Returns when every node listens. Raises `UserError`, with its last log lines for a node that does not."""
        wanted = len(self.topology.nodes)
        if len(self._inventory) < wanted:
            raise UserError(
                f"the inventory has {len(self._inventory)} hosts, and this cluster needs {wanted}: one node runs on "
                "each host, so that a host's firewall can tell nodes apart"
            )
        timeout_s = int(self._config["ssh.connect.timeout.ms"]) / 1000
        self._nodes = {
            info.name: SshNode(
                host, info, run=self.run, timeout_s=timeout_s, log=self._folder / f"{info.name}.log"
            )
            for host, info in zip(self._inventory, self.topology.nodes, strict=False)
        }
        try:
            await self._bring_up()
        except BaseException:
            # Whoever could not start it does not stop it either.
            await self._close()
            raise

    async def _bring_up(self) -> None:
        program = Program(self._system)
        await _all(node.open(self._system, program, self._heard) for node in self._nodes.values())
        if not self._foreign:
            await self._lay_links()
        await _all(self._start_node(name) for name in self.members)
        for name in self.members:
            if not await self._listens(name):
                node = self._nodes[name]
                raise UserError(
                    f"node {name} on host {node.host.address} did not start ({await node.ask('state')}); the end of "
                    f"{node.log}:\n{await node.last_lines(LAST_LOG_LINES)}"
                )
        if faketime.needed(self._system, self._config):
            await faketime.probe(self._system, self, self.members)

    async def _lay_links(self) -> None:
        """One kind for all: a connection that one end's kernel and the other's proxy made slow would be too slow."""
        nodes = self._nodes.values()
        for node in nodes:
            peers = [peer.host.address for peer in nodes if peer is not node]
            if why := await _answered(node.ask("queues", peers=peers)) if peers else "":
                self._without_netem = f"{node.host.address}: {why}"
                await _all(self._lay_relays(each) for each in nodes)
                return

    async def _lay_relays(self, node: SshNode) -> None:
        wanted = [
            (peer.name, use, peer.host.address, port)
            for peer in self._nodes.values()
            for use, port in {"": peer.info.port, **peer.info.ports}.items()
            if peer is not node
        ]
        places = [(name, address, port) for name, _, address, port in wanted]
        opened = await node.ask("relay", source=node.name, places=places)
        for (name, use, _, _), (host, port) in zip(wanted, opened, strict=True):
            self._relays[node.name, name, use] = (host, port)

    @property
    def _ready_s(self) -> float:
        return int(self._config["ready.timeout.ms"]) / 1000

    async def _start_node(self, name: str) -> None:
        node = self._nodes[name]
        main = self._port(node, "")
        file = NodeFile(
            name=name,
            topology=self.topology,
            config=self._config,
            bugs=tuple(sorted(self._bugs)),
            incarnation=node.incarnation + 1,
            listen=main.listen,
            advertised=main.advertised,
            peers=main.peers,
            ports={use: self._port(node, use) for use in node.info.ports},
            data=f"{node.folder}/{DATA}",
            beside="" if self._foreign else f"{node.folder}/{BESIDE}",
            events=f"{node.folder}/events.jsonl",
            start_ns=self._start_ns + node.monotonic_ahead_ns,
            seed=self._seed,
            founder=self._members[name],
        )
        await node.start(
            [node.host.python, *self._system.command(), "--environment", f"{node.folder}/environment.json"],
            file,
        )

    def _port(self, node: SshNode, use: str) -> Port:
        def of(each: SshNode) -> tuple[str, int]:
            return (each.host.address, each.info.ports[use] if use else each.info.port)

        others = [each for each in self._nodes.values() if not use or use in each.info.ports]
        relays = self._relays
        peers = {each.name: relays.get((node.name, each.name, use), of(each)) for each in others}
        return Port(of(node), of(node), peers)

    async def _listens(self, name: str) -> bool:
        node = self._nodes[name]
        limit_s = self._ready_s
        return bool(await node.ask("listens", host=node.host.address, port=node.info.port, limit_s=limit_s))

    async def stop(self) -> None:
        """Politely first. Nothing of the run is left on a host."""
        for host in self._hosts.values():
            await host.kill()
        await self._close()

    async def _close(self) -> None:
        await _all(node.close() for node in self._nodes.values())

    def close_now(self) -> None:
        """However the run ends."""
        self._links.close()
        for node in self._nodes.values():
            node.close_now()

    def running(self, node: str) -> bool:
        return node in self._nodes and self._nodes[node].running

    def address(self, node: str, *, client: str) -> Address:
        there = self._nodes[node]
        return Address(there.host.address, there.info.port)

    async def route(self, client: str, address: Address) -> Address:
        """What a client host dials instead: the proxy of its link to the node that listens there."""
        for node in self._nodes.values():
            ports = (node.info.port, *node.info.ports.values())
            if address.host == node.host.address and address.port in ports:
                return await self._links.to(client, node.name, address)
        return address

    def _heard(self, node: SshNode, told: dict[str, Any]) -> None:
        if "event" in told:
            event = msgspec.json.decode(told["event"], type=NodeEvent)
            if event.kind == control.REPORTED:
                self._proofs.heard(event)
                return
            if event.kind == control.STEP_REACHED:
                self._step_reached(node, str(event.fields["step"]))
                return
            self._tell(event)
        elif "ended" in told:
            error = f"exit code {told['ended']}: {told['said'].strip()}"
            self._tell(NodeEvent(self.now_ns(), node.name, "exited", {"error": error}))

    def _step_reached(self, node: SshNode, step: str) -> None:
        """The node stands still there (`harness.control`)."""
        self._steps.reached(node.name, step)
        if node.running:
            self._do_soon(self._go_on(node))

    async def _go_on(self, node: SshNode) -> None:
        # Killed meanwhile, as likely as not.
        with contextlib.suppress(AgentError):
            await node.ask("pause", paused=False)

    async def kill(self, node: str) -> Evidence:
        code = await self._nodes[node].ask("kill")
        self._nodes[node].ended = f"exit code {code}"
        return Evidence(code == KILLED, f"{node} ended with {code}")

    async def restart(self, node: str) -> Evidence:
        await self._start_node(node)
        if await self._listens(node):
            return Evidence(True, f"{node} listens")
        return Evidence(False, f"{node} does not listen ({await self._nodes[node].ask('state')})")

    async def pause(self, node: str) -> Evidence:
        if node in self.topology.clients:
            return Evidence(False, f"{node} lives in the harness's own process, which cannot be paused")
        there = self._nodes[node]
        stopped = await there.ask("pause", paused=True)
        there.paused = True
        return Evidence(stopped, f"{node} is {'stopped' if stopped else 'not stopped'}")

    async def resume(self, node: str) -> Evidence:
        if node in self.topology.clients:
            return Evidence(False, f"{node} was not paused")
        there = self._nodes[node]
        stopped = await there.ask("pause", paused=False)
        there.paused = False
        return Evidence(
            None if stopped is None else not stopped, f"{node} is {'stopped' if stopped else 'not stopped'}"
        )

    async def wipe(self, node: str) -> Evidence:
        left = await self._nodes[node].ask("wipe")
        return Evidence(left == 0, f"{left} files left on the disk of {node}")

    async def launch(self, node: str) -> Evidence:
        if node in self._members:
            return Evidence(False, f"{node} is a member already")
        wiped = await self.wipe(node)
        self._members[node] = False
        await self._start_node(node)
        listens = await self._listens(node)
        return Evidence(
            wiped.verified is True and listens, f"{node} listens" if listens else f"{node} does not listen"
        )

    async def retire(self, node: str) -> Evidence:
        if self._members.pop(node, None) is None:
            return Evidence(False, f"{node} is no member")
        if self.running(node):
            await self.kill(node)
        return await self.wipe(node)

    async def cut(self, source: str, target: str, *, how: How) -> Evidence:
        if source not in self._nodes or target not in self._nodes:
            connections = self._links.cut(source, target, how)
            return Evidence(True, f"{how} from {source} to {target}, {connections} open connections")
        return await self._firewalls.cut(self._nodes[source], self._nodes[target], how)

    async def heal(self, source: str, target: str) -> Evidence:
        if source not in self._nodes or target not in self._nodes:
            self._links.heal(source, target)
            return Evidence(True, f"{source} reaches {target}")
        return await self._firewalls.heal(self._nodes[source], self._nodes[target])

    async def power_fail(self, node: str, *, torn: bool = False) -> Evidence:
        there = self._nodes[node]
        if there.running:
            await self.kill(node)
        part = int.from_bytes(os.urandom(2)) / 65536 if torn else None
        lost = await there.ask("lose_power", part=part)
        return Evidence(True, f"{node} lost {lost} bytes that were not on its disk")

    async def fill_disk(self, node: str, *, full: bool) -> Evidence:
        there = self._nodes[node]
        await there.request(msgspec.structs.replace(there.standing.disk, full=full))
        return await self._proofs.full_disk(there, full=full)

    async def slow_disk(self, node: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        there = self._nodes[node]
        await there.request(
            msgspec.structs.replace(there.standing.disk, latency_ms=latency_ms, jitter_ms=jitter_ms)
        )
        return await self._proofs.slow_disk(there, latency_ms=latency_ms, jitter_ms=jitter_ms)

    async def limit_cpu(self, node: str, *, cores: float | None) -> Evidence:
        _not_here("cpu")

    async def limit_memory(self, node: str, *, more_mb: float | None) -> Evidence:
        _not_here("memory")

    async def degrade(
        self,
        source: str,
        target: str,
        *,
        latency_ms: float,
        jitter_ms: float,
        loss: float = 0.0,
        bandwidth_kbps: float = 0.0,
        datagram_loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> Evidence:
        if datagram_loss or duplicate or reorder:
            _not_here("datagrams")
        quality = {
            "latency_ms": latency_ms,
            "jitter_ms": jitter_ms,
            "loss": loss,
            "bandwidth_kbps": bandwidth_kbps,
        }
        ends = [self._nodes[end] for end in (source, target) if end in self._nodes]
        if len(ends) == 1:
            self._links.degrade(source, target, **quality)
            means = "proxies, as all links of clients"
        elif not self._without_netem:
            await ends[0].ask("slow", peer=ends[1].host.address, quality=quality)
            means = "netem"
        else:
            # Each end keeps the connections that it dialled.
            for end in ends:
                await end.ask("degrade", source=source, target=target, quality=quality)
            means = f"proxies ({self._without_netem})"
        return Evidence(True, f"from {source} to {target}: {latency_ms:g} ms, {loss:.0%} lost, by {means}")

    async def delay_messages(
        self, source: str, target: str, *, kind: str, latency_ms: float, jitter_ms: float
    ) -> Evidence:
        for end in (source, target):
            await self._nodes[end].request(control.Delay(source, target, kind, latency_ms, jitter_ms))
        return Evidence(
            True,
            f"{kind} from {source} to {target} takes {latency_ms:g} to {latency_ms + jitter_ms:g} ms longer",
        )

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        there, since_ns = self._nodes[node], time.monotonic_ns()
        if self._foreign and there.host.disposable and not faketime.needed(self._system, self._config):
            ahead_ms = float(await there.ask("set_clock", offset_ms=offset_ms, rate=rate))
            return Evidence(
                abs(ahead_ms - offset_ms) <= HOST_CLOCK_TOLERANCE_MS,
                f"the clock of host {there.host.address} is {ahead_ms / 1000:+.3f} s ahead and runs at {rate:g}",
            )
        asked = control.Clock(offset_ms, rate, since_ns + there.monotonic_ahead_ns)
        await there.request(asked)
        if self._foreign:
            return await faketime.moved(self._system, self, node, offset_ms=offset_ms)
        return await self._proofs.clock(there, asked, since_ns)

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        """The node stops at that step until the action has been taken."""
        return self._steps.arm(node, step, action)

    def _do_soon(self, work: Coroutine[Any, Any, None]) -> None:
        """In the order of the calls: requests are sent one after the other."""
        task = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


async def _answered(asking: Coroutine[Any, Any, Any]) -> Any:
    """While the run is being prepared. Raises `UserError`."""
    try:
        return await asking
    except AgentError as error:
        raise UserError(str(error)) from None


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side; the first error, once all have come to an end."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, AgentError):
            raise UserError(str(result))
        if isinstance(result, BaseException):
            raise result


def _not_here(kind: str) -> NoReturn:
    raise UserError(f"backend 'ssh' cannot do {kind} (it can do {', '.join(sorted(CAPABILITIES))})")
