"""The cluster of backend `local`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from harness import control, faketime
from harness.cluster import Evidence, How
from harness.clusters.event_files import EventFiles
from harness.clusters.links import Links
from harness.clusters.links.diallers import dialler
from harness.clusters.local.ports import HOST, HeldPorts
from harness.clusters.local.process import LocalNode
from harness.clusters.process_tree import signal_tree
from harness.clusters.proof import Proofs
from harness.clusters.real import RealCluster
from harness.clusters.steps import Steps
from harness.errors import UserError
from harness.kept_disk import lose_power
from harness.node import Address, NodeEvent
from harness.process import NodeFile, Port
from harness.run_id import new_run_id
from harness.schedule import MESSAGE_KINDS, THROUGH_ENVIRONMENT
from harness.system import Foreign, System
from harness.topology import Topology

CAPABILITIES = frozenset(
    {
        *("kill", "pause", "partition", "slow", "flaky", MESSAGE_KINDS),
        *("power", "wipe", "disk-full", "slow-disk", "clock", "crash-at"),
        *("join", "leave", "replace"),
    }
)
OURS = THROUGH_ENVIRONMENT | {"disk-full"}
"""What takes a node program of ours: its disk is an object that obeys."""
POLL_S = 0.05
STAND_S = 0.02
"""So long a node stands still at a step after whoever waited for it has been called."""
AFTERMATH_POLLS = 20
TERMINATE_S = 3.0
LAST_LOG_LINES = 8
UNKNOWN = "?"
"""Whose a connection is that no node and no client host has made."""


def capabilities_with(system: System) -> frozenset[str]:
    return CAPABILITIES - OURS if isinstance(system, Foreign) else CAPABILITIES


class LocalCluster(RealCluster):
    def __init__(
        self,
        system: System,
        topology: Topology,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path,
    ) -> None:
        super().__init__(topology)
        self.capabilities = capabilities_with(system)
        self.run_id = new_run_id()
        self._system = system
        self._foreign = isinstance(system, Foreign)
        self._config = config
        self._bugs = bugs
        self._seed = seed
        self._folder = folder
        self._ready_s = int(config.get("ready.timeout.ms", 60_000)) / 1000
        self._ports = HeldPorts()
        self._links = Links(seed)
        self._nodes = {
            node.name: LocalNode(
                node.name, folder / "nodes" / node.name, folder / f"{node.name}.log", self.run_id
            )
            for node in topology.nodes
        }
        self._places: dict[tuple[str, str], Address] = {}
        """(node, use of the port) -> where it listens."""
        self._proxies: dict[tuple[str, str, str], Address] = {}
        """(source, node, use) -> what the source dials."""
        self._reached: dict[Address, tuple[str, str]] = {}
        """What clients may be told -> the node and the use of the port."""
        self._steps = Steps(lambda node, arm: self._nodes[node].ask(arm))
        self._told_end: dict[tuple[str, int], None] = {}
        self._tail: asyncio.Task[None] | None = None
        self._files: EventFiles | None = None
        self._proofs = Proofs(self._collect_events)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Returns when every node listens. Raises `UserError` with its last log lines for one that does not."""
        wanted = [(node.name, use) for node in self.topology.nodes for use in ("", *node.ports)]
        ports = self._ports.take(len(wanted))
        self._places = {place: Address(HOST, port) for place, port in zip(wanted, ports, strict=True)}
        self._reached = {address: place for place, address in self._places.items()}
        await self._lay_links()
        (self._folder / "nodes").mkdir(parents=True, exist_ok=True)
        # What an earlier cluster on the same data told is no news of this one.
        self._files = EventFiles({name: node.events for name, node in self._nodes.items()})
        self._tail = asyncio.ensure_future(self._follow_events())
        for name in self.members:
            self._spawn(name)
        for name in self.members:
            node = self._nodes[name]
            if not await node.listens(self._places[name, ""], self._ready_s):
                raise UserError(
                    f"node {name} did not start ({node.describe()}); the end of {node.log}:\n"
                    + node.last_lines(LAST_LOG_LINES)
                )
        if faketime.needed(self._system, self._config):
            await faketime.probe(self._system, self, self.members)

    async def _lay_links(self) -> None:
        """A proxy for every directed link between nodes. Programs that we did not write know a node by one address,
        whoever dials it: one proxy serves all links to it."""
        for (target, use), address in self._places.items():
            if self._foreign:
                shared = await self._links.open_shared(target, address, self._dialler)
                self._proxies |= {(node, target, use): shared for node in self._nodes}
                self._reached[shared] = (target, use)
                continue
            for source in self._nodes:
                if source != target:
                    self._proxies[source, target, use] = await self._links.open(source, target, address)

    def _dialler(self, near: int, far: int) -> str:
        pids = {name: node.pid for name, node in self._nodes.items() if node.running}
        return dialler(pids, near, far) or UNKNOWN

    def _spawn(self, name: str) -> None:
        node = self._nodes[name]
        node.incarnation += 1
        own = self._places[name, ""]
        environment = NodeFile(
            name=name,
            topology=self.topology,
            config=self._config,
            bugs=tuple(sorted(self._bugs)),
            incarnation=node.incarnation,
            listen=own,
            advertised=own,
            peers=self._peers(name, ""),
            data=str(node.data),
            events=str(node.events),
            start_ns=self._start_ns,
            seed=self._seed,
            founder=self._members[name],
            ports={
                use: Port(self._places[name, use], self._places[name, use], self._peers(name, use))
                for use in self.topology.named(name).ports
            },
            beside="" if self._foreign else str(node.beside),
        )
        node.spawn(self._system.command(), environment)

    def _peers(self, name: str, use: str) -> dict[str, tuple[str, int]]:
        """Where that node reaches each node; itself without a detour, unless all know it by one address."""
        return {
            other: self._proxies.get((name, other, use), self._places[other, use]) for other in self._nodes
        }

    async def stop(self) -> None:
        """Politely first."""
        for host in self._hosts.values():
            await host.kill()
        if self._tail is not None:
            self._tail.cancel()
            self._collect_events()
        ending = [p for p in (node.terminate() for node in self._nodes.values()) if p is not None]
        await asyncio.to_thread(_await_end, ending)
        self.end()

    def end(self) -> None:
        """However the run ends."""
        for node in self._nodes.values():
            node.end()
        self._links.close()
        self._ports.close()

    def pid(self, node: str) -> int:
        """Of the node's latest process."""
        return self._nodes[node].pid

    def running(self, node: str) -> bool:
        return self._nodes[node].running

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────

    def address(self, node: str, *, client: str) -> Address:
        """The node's own: `route` leads each client there over its link."""
        return self._places[node, ""]

    async def route(self, client: str, address: Address) -> Address:
        """What a client host dials instead: the proxy of its link to the node that listens there."""
        place = self._reached.get(address)
        if place is None:
            return address
        return await self._links.to(client, place[0], self._places[place])

    # ── events ───────────────────────────────────────────────────────────────────────────────────────

    async def _follow_events(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._collect_events()

    def _collect_events(self) -> None:
        assert self._files is not None
        fresh = self._files.fresh()
        for event in sorted([*fresh, *self._exits()], key=lambda event: event.time):
            if event.kind == control.STEP_REACHED:
                self._step_reached(event.node, str(event.fields["step"]))
                continue
            if event.kind == control.REPORTED:
                self._proofs.heard(event)
                continue
            self._tell(event)

    def _exits(self) -> list[NodeEvent]:
        """Processes that ended and that nobody killed, each told once."""
        gone = [
            node
            for name, node in self._nodes.items()
            if node.died_by_itself and (name, node.incarnation) not in self._told_end
        ]
        self._told_end |= {(node.name, node.incarnation): None for node in gone}
        return [
            NodeEvent(
                self.now_ns(),
                node.name,
                "exited",
                {"error": f"{node.describe()}: {node.last_lines(1).strip()}"},
            )
            for node in gone
        ]

    def _step_reached(self, name: str, step: str) -> None:
        """The node stands still there (`harness.control`)."""
        self._steps.reached(name, step)
        # What the action has begun is to be done before the node's next instruction.
        asyncio.get_running_loop().call_later(STAND_S, self._go_on, self._nodes[name])

    @staticmethod
    def _go_on(node: LocalNode) -> None:
        if node.running and not node.ended_by_us and not node.paused:
            signal_tree(node.pid, signal.SIGCONT)

    # ── faults of processes ──────────────────────────────────────────────────────────────────────────

    async def kill(self, node: str) -> Evidence:
        code = await self._nodes[node].kill()
        return Evidence(code == -signal.SIGKILL, f"{node} ended with {code}")

    async def restart(self, node: str) -> Evidence:
        self._spawn(node)
        if await self._nodes[node].listens(self._places[node, ""], self._ready_s):
            return Evidence(True, f"{node} listens")
        return Evidence(False, f"{node} does not listen ({self._nodes[node].describe()})")

    async def pause(self, node: str) -> Evidence:
        if node in self.topology.clients:
            return Evidence(False, f"{node} lives in the harness's own process, which cannot be paused")
        return Evidence(*await self._nodes[node].stopped(True))

    async def resume(self, node: str) -> Evidence:
        if node in self.topology.clients:
            return Evidence(False, f"{node} was not paused")
        return Evidence(*await self._nodes[node].stopped(False))

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        """The node stops at that step until the action has been taken."""
        return self._steps.arm(node, step, action)

    # ── faults of disks and clocks ───────────────────────────────────────────────────────────────────

    async def power_fail(self, node: str, *, torn: bool = False) -> Evidence:
        there = self._nodes[node]
        await there.kill()
        part = int.from_bytes(os.urandom(2)) / 65536 if torn else None
        lost = await asyncio.to_thread(lose_power, there.data, there.beside, part)
        return Evidence(True, f"{node} lost {lost} bytes that were not on its disk")

    async def wipe(self, node: str) -> Evidence:
        if self.running(node):
            return Evidence(False, f"{node} is running")
        there = self._nodes[node]
        lost = sum(path.stat().st_size for path in there.data.rglob("*") if path.is_file())
        for folder in (there.data, there.beside):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return Evidence(not there.data.exists(), f"{node} lost its disk with {lost} bytes")

    async def fill_disk(self, node: str, *, full: bool) -> Evidence:
        there = self._nodes[node]
        there.ask(msgspec.structs.replace(there.standing.disk, full=full))
        proof = await self._proofs.full_disk(there, full=full)
        if not full:
            await self._aftermath(there)
        return proof

    async def _aftermath(self, node: LocalNode) -> None:
        """A program that met a full disk ends for it a moment later, which is told while the fault stands."""
        for _ in range(AFTERMATH_POLLS):
            if not node.hears():
                break
            await asyncio.sleep(POLL_S)
        self._collect_events()

    async def slow_disk(self, node: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        there = self._nodes[node]
        there.ask(msgspec.structs.replace(there.standing.disk, latency_ms=latency_ms, jitter_ms=jitter_ms))
        return await self._proofs.slow_disk(there, latency_ms=latency_ms, jitter_ms=jitter_ms)

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        there, since_ns = self._nodes[node], time.monotonic_ns()
        asked = control.Clock(offset_ms, rate, since_ns)
        there.ask(asked)
        if self._foreign:
            return await faketime.moved(self._system, self, node, offset_ms=offset_ms)
        return await self._proofs.clock(there, asked, since_ns)

    # ── faults of links ──────────────────────────────────────────────────────────────────────────────

    async def cut(self, source: str, target: str, *, how: How) -> Evidence:
        connections = self._links.cut(source, target, how)
        return Evidence(True, f"{how} from {source} to {target}, {connections} open connections")

    async def heal(self, source: str, target: str) -> Evidence:
        self._links.heal(source, target)
        return Evidence(True, f"{source} reaches {target}")

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
        self._links.degrade(
            source,
            target,
            latency_ms=latency_ms,
            jitter_ms=jitter_ms,
            loss=loss,
            bandwidth_kbps=bandwidth_kbps,
        )
        return Evidence(True, f"from {source} to {target}: {latency_ms:g} ms, {loss:.0%} lost")

    async def delay_messages(
        self, source: str, target: str, *, kind: str, latency_ms: float, jitter_ms: float
    ) -> Evidence:
        for end in (source, target):
            self._nodes[end].ask(control.Delay(source, target, kind, latency_ms, jitter_ms))
        return Evidence(
            True,
            f"{kind} from {source} to {target} takes {latency_ms:g} to {latency_ms + jitter_ms:g} ms longer",
        )

    # ── changes of the cluster ───────────────────────────────────────────────────────────────────────

    async def launch(self, node: str) -> Evidence:
        if node in self._members:
            return Evidence(False, f"{node} is a member already")
        await self.wipe(node)
        self._members[node] = False
        return await self.restart(node)

    async def retire(self, node: str) -> Evidence:
        if self._members.pop(node, None) is None:
            return Evidence(False, f"{node} is no member")
        await self._nodes[node].kill()
        return await self.wipe(node)


def _await_end(processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + TERMINATE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _not_here(kind: str) -> NoReturn:
    raise UserError(f"backend 'local' cannot do {kind} (it can do {', '.join(sorted(CAPABILITIES))})")
