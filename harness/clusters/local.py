"""Backend `local`: every node a process on loopback, with a real disk and the machine's clock.

Node processes stand in sessions of their own, so that a Ctrl-C reaches the harness only, and end when the
harness does (their standard input is its pipe). Link faults need a proxy per link and are not offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from harness.cluster import Evidence, How, Scenario
from harness.clusters.client_tasks import ClientLoop, TaskHost
from harness.errors import UserError
from harness.foreign import missing_programs
from harness.node import Address, NodeEvent
from harness.process import NodeFile, Port
from harness.system import System
from harness.topology import Topology

T = TypeVar("T")
HOST = "127.0.0.1"
CAPABILITIES = frozenset({"kill", "pause"})
POLL_S = 0.05
TERMINATE_S = 3.0
LAST_LOG_LINES = 8


class LocalBackend:
    description = "real processes on this machine, over loopback"
    capabilities = CAPABILITIES

    def check(self) -> list[tuple[str, bool, str]]:
        return [("SIGSTOP and process groups (POSIX)", sys.platform != "win32", "use Linux or macOS")]

    def run(
        self,
        scenario: Scenario[T],
        *,
        system: Any,
        topology: Topology,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path | None,
    ) -> T:
        if missing := missing_programs(system):
            raise missing
        with contextlib.ExitStack() as stack:
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-local-")))
            cluster = LocalCluster(system, topology, config, bugs, seed, folder.resolve())
            stack.callback(cluster.kill_all)
            runner = stack.enter_context(asyncio.Runner(loop_factory=ClientLoop))
            return runner.run(_through(scenario, cluster))


async def _through(scenario: Scenario[T], cluster: LocalCluster) -> T:
    return await scenario(cluster)


class LocalCluster:
    def __init__(
        self,
        system: System,
        topology: Topology,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path,
    ) -> None:
        self.topology = topology
        self.capabilities = CAPABILITIES
        self._system = system
        self._config = config
        self._bugs = bugs
        self._seed = seed
        self._folder = folder
        self._start_ns = time.monotonic_ns()
        self._ports: dict[str, int] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._incarnations: dict[str, int] = {}
        self._hosts: dict[str, TaskHost] = {}
        self._events: list[NodeEvent] = []
        self._callbacks: list[Callable[[NodeEvent], None]] = []
        self._read: dict[str, int] = {}
        self._ended: dict[str, None] = {}
        self._tail: asyncio.Task[None] | None = None

    @property
    def events(self) -> Sequence[NodeEvent]:
        return self._events

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.topology.founders)

    def now_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns

    async def start(self) -> None:
        """Returns when every node listens. Raises `UserError` with its last log lines for one that does not."""
        names = [node.name for node in self.topology.nodes]
        wanted = [(node.name, use) for node in self.topology.nodes for use in ("", *node.ports)]
        self._places = dict(zip(wanted, _free_ports(len(wanted)), strict=True))
        self._ports = {name: self._places[name, ""] for name in names}
        (self._folder / "nodes").mkdir(parents=True, exist_ok=True)
        # What an earlier cluster on the same data told is no news of this one.
        self._read = {name: _size(self._events_file(name)) for name in names}
        self._tail = asyncio.ensure_future(self._follow_events())
        names = list(self.members)
        for name in names:
            self._spawn(name)
        limit_s = int(self._config.get("ready.timeout.ms", 60_000)) / 1000
        for name in names:
            if not await self._listens(name, limit_s):
                raise UserError(
                    f"node {name} did not start ({self._state(name)}); the end of {self._log(name)}:\n"
                    + self._last_lines(name)
                )

    def _spawn(self, name: str) -> None:
        incarnation = self._incarnations[name] = self._incarnations.get(name, -1) + 1
        place = self._folder / "nodes" / name
        place.mkdir(exist_ok=True)
        addresses = {n: (HOST, port) for n, port in self._ports.items()}
        environment = NodeFile(
            name=name,
            topology=self.topology,
            config=self._config,
            bugs=tuple(sorted(self._bugs)),
            incarnation=incarnation,
            listen=addresses[name],
            advertised=addresses[name],
            peers=addresses,
            data=str(place / "data"),
            events=str(self._events_file(name)),
            start_ns=self._start_ns,
            seed=self._seed,
            ports={use: self._further(name, use) for use in self.topology.named(name).ports},
        )
        path = place / "environment.json"
        path.write_bytes(msgspec.json.encode(environment))
        self._ended.pop(name, None)
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *self._system.command(), "--environment", str(path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _further(self, name: str, use: str) -> Port:
        places = {node: (HOST, port) for (node, named), port in self._places.items() if named == use}
        return Port(places[name], places[name], places)

    async def _listens(self, name: str, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self.running(name):
            try:
                _, writer = await asyncio.open_connection(HOST, self._ports[name])
            except OSError:
                await asyncio.sleep(POLL_S)
                continue
            writer.close()
            return True
        return False

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _events_file(self, name: str) -> Path:
        return self._folder / "nodes" / name / "events.jsonl"

    def _state(self, name: str) -> str:
        code = self._processes[name].poll()
        return "it runs but does not listen" if code is None else f"exit code {code}"

    def _last_lines(self, name: str, count: int = LAST_LOG_LINES) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines) or "    (empty)"

    async def stop(self) -> None:
        """Politely first."""
        for host in self._hosts.values():
            await host.kill()
        if self._tail is not None:
            self._tail.cancel()
            self._collect_events()
        for process in self._processes.values():
            if process.poll() is None:
                _signal(process.pid, signal.SIGCONT)
                process.terminate()
        await asyncio.to_thread(_await_end, list(self._processes.values()))
        self.kill_all()

    def kill_all(self) -> None:
        """However the run ends. SIGKILL also ends a stopped process."""
        for process in self._processes.values():
            if process.poll() is None:
                _signal(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def pid(self, node: str) -> int:
        """Of the node's latest process."""
        return self._processes[node].pid

    def running(self, node: str) -> bool:
        process = self._processes.get(node)
        return process is not None and process.poll() is None

    def client_host(self, name: str) -> TaskHost:
        return self._hosts.setdefault(name, TaskHost(name))

    def address(self, node: str, *, client: str) -> Address:
        return Address(HOST, self._ports[node])

    def on_event(self, callback: Callable[[NodeEvent], None]) -> None:
        self._callbacks.append(callback)

    async def _follow_events(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._collect_events()

    def _collect_events(self) -> None:
        """New whole lines of all nodes, in order of time."""
        fresh: list[NodeEvent] = []
        for node in self.topology.nodes:
            path = self._events_file(node.name)
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read.get(node.name, 0))
                lines = file.read().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n"):
                    self._read[node.name] = self._read.get(node.name, 0) + len(line)
                    fresh.append(msgspec.json.decode(line, type=NodeEvent))
        fresh += self._exits()
        for event in sorted(fresh, key=lambda e: e.time):
            self._events.append(event)
            for callback in self._callbacks:
                callback(event)

    def _exits(self) -> list[NodeEvent]:
        """Processes that ended and that nobody killed, each told once."""
        gone = [n for n, p in self._processes.items() if n not in self._ended and p.poll() is not None]
        self._ended.update(dict.fromkeys(gone))
        return [
            NodeEvent(
                self.now_ns(),
                name,
                "exited",
                {"error": f"{self._state(name)}: {self._last_lines(name, count=1).strip()}"},
            )
            for name in gone
        ]

    async def kill(self, node: str) -> Evidence:
        process = self._processes[node]
        self._ended[node] = None
        _signal(process.pid, signal.SIGKILL)
        code = await asyncio.to_thread(process.wait)
        return Evidence(code == -signal.SIGKILL, f"{node} ended with {code}")

    async def restart(self, node: str) -> Evidence:
        self._spawn(node)
        limit_s = int(self._config.get("ready.timeout.ms", 60_000)) / 1000
        if await self._listens(node, limit_s):
            return Evidence(True, f"{node} listens")
        return Evidence(False, f"{node} does not listen ({self._state(node)})")

    async def pause(self, node: str) -> Evidence:
        _signal(self._processes[node].pid, signal.SIGSTOP)
        return await self._stopped(node, True)

    async def resume(self, node: str) -> Evidence:
        _signal(self._processes[node].pid, signal.SIGCONT)
        return await self._stopped(node, False)

    async def _stopped(self, node: str, wanted: bool) -> Evidence:
        """Asks the kernel, which takes a moment to stop a process."""
        pid = self._processes[node].pid
        state = None
        for _ in range(20):
            state = _kernel_state(pid)
            if state is None:
                return Evidence(None, "no /proc to ask")
            if (state == "T") is wanted:
                break
            await asyncio.sleep(0.01)
        return Evidence((state == "T") is wanted, f"{node} is in state {state}")

    async def power_fail(self, node: str, *, torn: bool = False) -> Evidence:
        _not_here("power")

    async def cut(self, source: str, target: str, *, how: How) -> Evidence:
        _not_here("partition")

    async def heal(self, source: str, target: str) -> Evidence:
        _not_here("partition")

    async def wipe(self, node: str) -> Evidence:
        _not_here("wipe")

    async def fill_disk(self, node: str, *, full: bool) -> Evidence:
        _not_here("disk-full")

    async def slow_disk(self, node: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        _not_here("slow-disk")

    async def launch(self, node: str) -> Evidence:
        _not_here("join")

    async def retire(self, node: str) -> Evidence:
        _not_here("leave")

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
        _not_here("slow")

    async def delay_messages(
        self, source: str, target: str, *, kind: str, latency_ms: float, jitter_ms: float
    ) -> Evidence:
        _not_here("message-kinds")

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        _not_here("clock")

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        _not_here("crash-at")


def _await_end(processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + TERMINATE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _signal(pid: int, number: signal.Signals) -> None:
    """To the process and all below it, the parent first: a program that we did not write may be many processes, in
    sessions of their own. Where there is no /proc only the first is reached."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number if number is not signal.SIGKILL else signal.SIGSTOP)
    for child in _children(pid):
        _signal(child, number)
    if number is signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _kernel_state(pid: int) -> str | None:
    """`T` for stopped, `S` for sleeping, …; None where the system has no /proc."""
    status = Path(f"/proc/{pid}/stat")
    return status.read_text().rpartition(")")[2].split()[0] if status.exists() else None


def _not_here(kind: str) -> NoReturn:
    raise UserError(f"backend 'local' cannot do {kind} (it can do {', '.join(sorted(CAPABILITIES))})")


def _free_ports(count: int) -> list[int]:
    """All bound at once, so that they differ; each is free for the node that binds it next."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
