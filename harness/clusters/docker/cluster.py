"""The cluster of containers and what can be broken in it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from harness import control, faketime
from harness.cluster import Evidence, How
from harness.clusters.client_tasks import ClientLoop
from harness.clusters.docker.engine import explained
from harness.clusters.docker.leftovers import remove_run
from harness.clusters.docker.links import DockerLinks, side_by_side
from harness.clusters.docker.node import DISK, MOUNT, PUBLISHED, DockerNode
from harness.clusters.event_files import EventFiles
from harness.clusters.netem import Quality
from harness.clusters.real import RealCluster
from harness.clusters.steps import Steps
from harness.errors import UserError
from harness.node import Address, NodeEvent
from harness.process import NodeFile, Port
from harness.run_id import LABEL as RUN
from harness.run_id import new_run_id, token
from harness.schedule import KINDS, MESSAGE_KINDS
from harness.system import Foreign, System, Unprivileged
from harness.topology import Topology

T = TypeVar("T")
CAPABILITIES = KINDS - {"datagrams"} | {MESSAGE_KINDS}
POLL_S = 0.05
LAST_LOG_LINES = 8
KILLED = 137
AFTERMATH_S = 1.5


class DockerCluster(RealCluster):
    """`harness.cluster.Cluster`. `run` is the name that all its containers, networks and volumes carry."""

    def __init__(
        self,
        client: Any,
        image: str,
        system: System,
        topology: Topology,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path,
    ) -> None:
        super().__init__(topology)
        self.capabilities = CAPABILITIES
        self.run = new_run_id()
        self._client = client
        self._image = image
        self._system = system
        self._config = config
        self._bugs = bugs
        self._seed = seed
        self._folder = folder
        self._nodes: dict[str, DockerNode] = {}
        self._event_files: EventFiles | None = None
        self._told: dict[str, None] = dict.fromkeys(node.name for node in topology.nodes)
        """Nodes whose end is no news: killed, told already, or not started yet."""
        self._telling = asyncio.Lock()
        self._tail: asyncio.Task[None] | None = None
        self._random = random.Random(f"{seed}:docker")
        self._links = DockerLinks(topology.clients, seed)
        self._steps = Steps(lambda node, arm: self._soon(self._nodes[node].tell(arm)))
        self._under_way: dict[asyncio.Future[None], None] = {}

    async def start(self) -> None:
        """Returns when every node listens. Raises `UserError`, with its last log lines for a node that does not."""
        prefix = f"chaos-{token(self.run)}"
        with explained("create the private network"):
            network = await asyncio.to_thread(self._create_network, prefix)
        self._nodes = {
            info.name: DockerNode(
                self._client,
                info,
                image=self._image,
                prefix=prefix,
                network=network,
                labels={RUN: self.run},
                folder=self._folder,
                unprivileged=isinstance(self._system, Unprivileged) and self._system.unprivileged,
            )
            for info in self.topology.nodes
        }
        disk_mb = int(self._config["docker.disk.mb"])
        command = ["python3", *self._system.command(), "--environment", f"{MOUNT}/environment.json"]
        await side_by_side(node.open(disk_mb) for node in self._nodes.values())
        await side_by_side(node.create(command) for node in self._nodes.values())
        await self._links.lay(self._nodes)
        loop = asyncio.get_running_loop()
        if isinstance(loop, ClientLoop):
            loop.route = self._links.route
        self._event_files = EventFiles(
            {node.name: node.events for node in self._nodes.values()},
            ahead_ns={node.name: node.clock_ahead_ns for node in self._nodes.values()},
        )
        self._tail = asyncio.ensure_future(self._follow_events())
        await side_by_side(self._start_node(name) for name in self.members)
        for name in self.members:
            if not await self._nodes[name].listens(self._ready_s):
                raise UserError(
                    f"node {name} did not start ({await self._nodes[name].describe()}); the end of "
                    f"{self._nodes[name].log}:\n" + self._nodes[name].last_lines(LAST_LOG_LINES)
                )
        if faketime.needed(self._system, self._config):
            await faketime.probe(self._system, self, self.members)

    def _create_network(self, name: str) -> str:
        """Reachable from this machine only, and leading nowhere."""
        made = self._client.networks.create(
            name,
            driver="bridge",
            check_duplicate=True,
            labels={RUN: self.run},
            options={
                "com.docker.network.bridge.enable_ip_masquerade": "false",
                "com.docker.network.bridge.host_binding_ipv4": PUBLISHED,
            },
        )
        return str(made.name)

    @property
    def _ready_s(self) -> float:
        return int(self._config["ready.timeout.ms"]) / 1000

    async def _start_node(self, name: str) -> None:
        node = self._nodes[name]
        node.incarnation += 1
        main = self._port(node, "")
        await node.start(
            NodeFile(
                name=name,
                topology=self.topology,
                config=self._config,
                bugs=tuple(sorted(self._bugs)),
                incarnation=node.incarnation,
                listen=main.listen,
                advertised=main.advertised,
                peers=main.peers,
                ports={use: self._port(node, use) for use in node.info.ports},
                data=f"{DISK}/data",
                beside=f"{DISK}/beside",
                events=f"{MOUNT}/events.jsonl",
                start_ns=self._start_ns,
                seed=self._seed,
                founder=self._members[name],
            )
        )
        self._told.pop(name, None)

    def _port(self, node: DockerNode, use: str) -> Port:
        return Port(
            listen=(node.address, node.ports[use]),
            advertised=(PUBLISHED, node.published[use]),
            peers={p.name: (p.address, p.ports[use]) for p in self._nodes.values() if use in p.ports},
        )

    async def stop(self) -> None:
        """Politely first."""
        for host in self._hosts.values():
            await host.kill()
        if self._tail is not None:
            self._tail.cancel()
        self._told.update(dict.fromkeys(self._nodes))
        try:
            await side_by_side(node.stop() for node in self._nodes.values())
        finally:
            self._collect_events()
            for node in self._nodes.values():
                node.close()
            await asyncio.to_thread(self.remove)

    def remove(self) -> None:
        """Raises `UserError`, once all is removed that can be."""
        self._links.close()
        remove_run(self._client, self.run)

    def running(self, node: str) -> bool:
        return node in self._nodes and self._nodes[node].running

    def address(self, node: str, *, client: str) -> Address:
        return Address(PUBLISHED, self._nodes[node].published[""])

    async def _follow_events(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._collect_events()
            await self._tell_who_ended()

    async def _tell_who_ended(self) -> None:
        """Of those that nobody killed, each once."""
        async with self._telling:
            for name, node in self._nodes.items():
                if not node.running and name not in self._told:
                    self._told[name] = None
                    error = f"{await node.describe()}: {node.last_lines(1).strip()}"
                    self._tell(NodeEvent(self.now_ns(), name, "exited", {"error": error}))

    async def _aftermath(self, node: str) -> None:
        """A program that met a lack of room ends for it a moment later, and that is told while the fault stands."""
        await self._nodes[node].ends_within(AFTERMATH_S)
        await self._tell_who_ended()

    def _collect_events(self) -> None:
        for event in self._event_files.fresh() if self._event_files is not None else ():
            if event.kind == control.STEP_REACHED:
                self._stands_at(event)
            else:
                self._tell(event)

    async def kill(self, node: str) -> Evidence:
        self._told[node] = None
        # Whoever crashes a node at a step takes the first pause as the end of what cannot wait.
        await asyncio.sleep(0)
        code = await self._nodes[node].kill()
        return Evidence(code == KILLED, f"{node} ended with {code}")

    async def restart(self, node: str) -> Evidence:
        await self._start_node(node)
        if await self._nodes[node].listens(self._ready_s):
            return Evidence(True, f"{node} listens")
        return Evidence(False, f"{node} does not listen ({await self._nodes[node].describe()})")

    async def pause(self, node: str) -> Evidence:
        if node in self.topology.clients:
            return Evidence(False, f"{node} is a part of the harness, which cannot be paused")
        state = await self._nodes[node].pause()
        return Evidence(state == "paused", f"{node} is {state}")

    async def resume(self, node: str) -> Evidence:
        if node in self.topology.clients:
            return Evidence(False, f"{node} was not paused")
        state = await self._nodes[node].resume()
        return Evidence(state == "running", f"{node} is {state}")

    async def wipe(self, node: str) -> Evidence:
        left = await self._nodes[node].ask("wipe")
        return Evidence(left == 0, f"{left} files left on the disk of {node}")

    async def fill_disk(self, node: str, *, full: bool) -> Evidence:
        is_full = await self._nodes[node].ask("fill", full=full)
        if not full:
            await self._aftermath(node)
        return Evidence(
            is_full is full, f"the disk of {node} " + ("takes nothing" if is_full else "has room")
        )

    async def limit_cpu(self, node: str, *, cores: float | None) -> Evidence:
        return await self._nodes[node].limit_cpu(cores)

    async def limit_memory(self, node: str, *, more_mb: float | None) -> Evidence:
        evidence = await self._nodes[node].limit_memory(more_mb)
        if more_mb is None:
            await self._aftermath(node)
        return evidence

    async def launch(self, node: str) -> Evidence:
        if node in self._members:
            return Evidence(False, f"{node} is a member already")
        wiped = await self.wipe(node)
        self._members[node] = False
        await self._start_node(node)
        listens = await self._nodes[node].listens(self._ready_s)
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
        return await self._links.cut(source, target, how)

    async def heal(self, source: str, target: str) -> Evidence:
        return await self._links.heal(source, target)

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
        """Of streams: faults of datagrams are not offered."""
        return await self._links.degrade(source, target, Quality(latency_ms, jitter_ms, loss, bandwidth_kbps))

    async def power_fail(self, node: str, *, torn: bool = False) -> Evidence:
        killed = await self.kill(node) if self.running(node) else Evidence(True, f"{node} was down")
        lost = await self._nodes[node].ask("lose_power", torn=self._random.random() if torn else None)
        return Evidence(killed.verified, f"{killed.detail}; {lost} bytes that were not durable are gone")

    async def slow_disk(self, node: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        await self._nodes[node].tell(control.Disk(latency_ms=latency_ms, jitter_ms=jitter_ms))
        return Evidence(
            True, f"each fsync of {node} takes {latency_ms:g} to {latency_ms + jitter_ms:g} ms longer"
        )

    async def delay_messages(
        self, source: str, target: str, *, kind: str, latency_ms: float, jitter_ms: float
    ) -> Evidence:
        """Told to both, since whoever dialled keeps both directions."""
        delay = control.Delay(source, target, kind, latency_ms, jitter_ms)
        for node in (source, target):
            await self._nodes[node].tell(delay)
        return Evidence(True)

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        if node in self.topology.clients:
            return Evidence(
                offset_ms == 0 and rate == 1, f"{node} has the clock of the harness, which stays right"
            )
        since_ns = time.monotonic_ns() + self._nodes[node].clock_ahead_ns
        await self._nodes[node].tell(control.Clock(offset_ms, rate, since_ns))
        if isinstance(self._system, Foreign):
            return await faketime.moved(self._system, self, node, offset_ms=offset_ms)
        return Evidence(True, f"the clock of {node} is off by {offset_ms:g} ms, at rate {rate:g}")

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        return self._steps.arm(node, step, action)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way[task] = None
        task.add_done_callback(lambda t: self._under_way.pop(t, None))

    def _stands_at(self, event: NodeEvent) -> None:
        """A node stopped itself at a step that was waited for: whoever waits acts, and it goes on if it still lives."""
        self._steps.reached(event.node, str(event.fields["step"]))
        node = self._nodes[event.node]
        if event.node not in self._told and node.running:
            self._soon(node.go_on())
