"""The backend `sim`: clusters in deterministic simulation, faults by construction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.cluster import Evidence, How, Scenario
from harness.errors import UserError
from harness.node import Address, MessageDelays, NodeEvent
from harness.schedule import KINDS, MESSAGE_KINDS, RATIONS
from harness.sim.choices import MESSAGE_DELAY, START, Choices, Recording
from harness.sim.environment import SimEnvironment
from harness.sim.errors import ProcessKilled
from harness.sim.host import DEAD, PAUSED, RUNNING, Host, Process
from harness.sim.settings import physics
from harness.sim.world import World
from harness.system import Foreign
from harness.topology import Topology

T = TypeVar("T")

CAPABILITIES = (KINDS - RATIONS) | {MESSAGE_KINDS}
_STOP_GRACE_S = 1.0


class SimClientHost:
    """A machine for one client process at a time."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._host = world.host(name)

    @property
    def name(self) -> str:
        return self._host.name

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        world = self._world
        process = self._host.process
        if process is None or process.state == DEAD:
            process = world.begin(self._host)
        task = world.spawn(process, coroutine)
        answer: asyncio.Future[T] = world.loop.create_future()
        kernel = world.loop.kernel.context

        def died() -> None:
            if not answer.done():
                answer.set_exception(ConnectionAbortedError(f"the client process on {self.name} was killed"))

        def answered(done: asyncio.Future[T]) -> None:
            if died in process.on_death:
                process.on_death.remove(died)
            if done.cancelled() and not task.done():
                task.cancel()

        process.on_death.append(died)
        task.add_done_callback(lambda done: _hand_over(done, answer), context=kernel)
        answer.add_done_callback(answered, context=kernel)
        return answer

    async def kill(self) -> None:
        if self._host.process is not None:
            self._world.kill(self._host.process)


def _hand_over(task: asyncio.Future[Any], answer: asyncio.Future[Any]) -> None:
    if task.cancelled():
        answer.cancel()
        return
    error = task.exception()
    if answer.done():
        return
    if isinstance(error, StopIteration):
        error = RuntimeError(f"the client raised {error!r}")
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


class SimCluster:
    """Implements `harness.cluster.Cluster`. `steps` counts the named protocol steps reached so far."""

    def __init__(
        self, world: World, system: Any, topology: Topology, config: dict[str, Any], bugs: frozenset[str]
    ) -> None:
        self._world = world
        self._program = system.program()
        self._topology = topology
        self._config = config
        self._bugs = bugs
        self._events: list[NodeEvent] = []
        self._listeners: list[Callable[[NodeEvent], None]] = []
        self._clients: dict[str, SimClientHost] = {}
        self._armed: dict[tuple[str, str], list[Callable[[str], None]]] = {}
        self._mains: dict[str, asyncio.Task[Any]] = {}
        self._members = {node.name: True for node in topology.founders}
        """Name -> whether it is a founder."""
        self._delays: dict[str, MessageDelays] = {}
        self.steps: dict[str, int] = {}
        for node in topology.nodes:
            world.host(node.name)
        for client in topology.clients:
            world.host(client)
        world.network.on_late_delivery = lambda fields: self._report("network", "late-delivery", fields)
        world.loop.default_exception_handler = self._unhandled  # type: ignore[method-assign]

    # lifecycle

    @property
    def capabilities(self) -> frozenset[str]:
        return CAPABILITIES

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(name for name in self._names() if name in self._members)

    @property
    def events(self) -> Sequence[NodeEvent]:
        return self._events

    def now_ns(self) -> int:
        return self._world.loop.now_ns

    async def start(self) -> None:
        """Starts every node, each at a moment of its own."""
        for node in self._topology.founders:
            delay = self._world.choices.uniform(START) * self._world.physics.start_stagger_ns
            self._start(node.name, delay / 1e9)

    async def stop(self) -> None:
        """Asks every program to end, as SIGTERM does, and kills what has not a second later."""
        processes = [p for p in map(self._process, self._names()) if p is not None]
        for process in processes:
            self._world.resume(process)
        for main in self._mains.values():
            main.cancel()
        if self._mains:
            await asyncio.wait(self._mains.values(), timeout=_STOP_GRACE_S)
        for process in processes:
            self._world.kill(process)

    def running(self, node: str) -> bool:
        process = self._process(node)
        return process is not None and process.state == RUNNING

    def client_host(self, name: str) -> SimClientHost:
        if name not in self._clients:
            self._clients[name] = SimClientHost(self._world, name)
        return self._clients[name]

    def address(self, node: str, *, client: str) -> Address:
        return Address(node, self._topology.named(node).port)

    def on_event(self, callback: Callable[[NodeEvent], None]) -> None:
        self._listeners.append(callback)

    def trace_digest(self) -> str:
        """Of everything that has happened so far: equal in two runs exactly if they are the same run."""
        return self._world.loop.trace.hexdigest()

    def recording(self) -> Recording:
        """All choices made so far."""
        return self._world.choices.recording()

    # faults

    async def kill(self, node: str) -> Evidence:
        process = self._process(node)
        if process is None:
            return Evidence(False, f"{node} was not running")
        connections = self._world.kill(process)
        self._trace("kill", node=node)
        return Evidence(True, f"process {process.incarnation} of {node} ended with {connections} connections")

    async def restart(self, node: str) -> Evidence:
        process = self._process(node)
        if process is not None:
            self._world.kill(process)
        self._trace("restart", node=node)
        self._start(node, 0.0)
        return Evidence(True, f"{node} runs again")

    async def pause(self, node: str) -> Evidence:
        process = self._process(node)
        if process is None or process.state == PAUSED:
            return Evidence(False, f"{node} was not running")
        self._world.pause(process)
        self._trace("pause", node=node)
        return Evidence(True, f"{node} is paused")

    async def resume(self, node: str) -> Evidence:
        process = self._process(node)
        if process is None or process.state != PAUSED:
            return Evidence(False, f"{node} was not paused")
        held = len(process.held)
        self._world.resume(process)
        self._trace("resume", node=node)
        return Evidence(True, f"{node} runs again, {held} callbacks late")

    async def power_fail(self, node: str, *, torn: bool = False) -> Evidence:
        process = self._process(node)
        host = self._host(node)
        if process is not None:
            self._world.kill(process, power_lost=True)
        host.powered = False
        lost = host.disk.lose_power(torn=torn)
        self._trace("power-fail", node=node, lost_bytes=lost)
        return Evidence(True, f"{node} lost power and {lost} bytes that were not fsynced")

    async def wipe(self, node: str) -> Evidence:
        if self._process(node) is not None:
            return Evidence(False, f"{node} is running")
        gone = self._host(node).disk.wipe()
        self._trace("wipe", node=node, lost_bytes=gone)
        return Evidence(True, f"{node} lost its disk with {gone} bytes")

    async def fill_disk(self, node: str, *, full: bool) -> Evidence:
        self._host(node).disk.full = full
        self._trace("fill-disk", node=node, full=full)
        return Evidence(True, f"the disk of {node} {'is full' if full else 'has room again'}")

    async def slow_disk(self, node: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        disk = self._host(node).disk
        disk.extra_ns, disk.jitter_ns = round(latency_ms * 1e6), round(jitter_ms * 1e6)
        self._trace("slow-disk", node=node, latency_ms=latency_ms, jitter_ms=jitter_ms)
        return Evidence(
            True, f"an fsync on {node} takes {latency_ms:g} to {latency_ms + jitter_ms:g} ms longer"
        )

    async def launch(self, node: str) -> Evidence:
        if node in self._members:
            return Evidence(False, f"{node} is a member already")
        self._host(node).disk.wipe()
        self._members[node] = False
        self._trace("launch", node=node)
        self._start(node, 0.0)
        return Evidence(True, f"{node} runs, on an empty disk")

    async def retire(self, node: str) -> Evidence:
        if self._members.pop(node, None) is None:
            return Evidence(False, f"{node} is no member")
        process = self._process(node)
        if process is not None:
            self._world.kill(process)
        gone = self._host(node).disk.wipe()
        self._trace("retire", node=node, lost_bytes=gone)
        return Evidence(True, f"{node} is gone with its {gone} bytes")

    async def cut(self, source: str, target: str, *, how: How) -> Evidence:
        self._host(source), self._host(target)
        connections = self._world.network.cut(source, target, how)
        self._trace("cut", source=source, target=target, how=how)
        return Evidence(True, f"{how} from {source} to {target}, {connections} open connections")

    async def heal(self, source: str, target: str) -> Evidence:
        self._host(source), self._host(target)
        self._world.network.heal(source, target)
        self._trace("heal", source=source, target=target)
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
        self._host(source), self._host(target)
        link = self._world.network.link(source, target)
        link.extra_ns, link.jitter_ns = round(latency_ms * 1e6), round(jitter_ms * 1e6)
        poor = {
            "loss": loss,
            "bandwidth_kbps": bandwidth_kbps,
            "datagram_loss": datagram_loss,
            "duplicate": duplicate,
            "reorder": reorder,
        }
        link.degrade(**poor)
        told = {name: value for name, value in poor.items() if value}
        self._trace(
            "degrade", source=source, target=target, latency_ms=latency_ms, jitter_ms=jitter_ms, **told
        )
        slower = f"{source} to {target} takes {latency_ms:g} to {latency_ms + jitter_ms:g} ms longer"
        return Evidence(True, ", ".join([slower, *(f"{name} {value:g}" for name, value in told.items())]))

    async def delay_messages(
        self, source: str, target: str, *, kind: str, latency_ms: float, jitter_ms: float
    ) -> Evidence:
        self._host(source), self._host(target)
        for end in (source, target):
            self._delays_of(end).set(
                source, target, kind, latency_s=latency_ms / 1e3, jitter_s=jitter_ms / 1e3
            )
        self._trace(
            "delay", source=source, target=target, message=kind, latency_ms=latency_ms, jitter_ms=jitter_ms
        )
        return Evidence(
            True,
            f"{kind} from {source} to {target} takes {latency_ms:g} to {latency_ms + jitter_ms:g} ms longer",
        )

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        clock = self._host(node).clock
        clock.skew(round(offset_ms * 1e6), rate)
        self._trace("skew", node=node, offset_ms=offset_ms, rate=rate)
        return Evidence(
            True, f"the clock of {node} is off by {clock.error_ns / 1e6:g} ms and runs at {rate:g}"
        )

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        """The action is called at every time the node gets there, until it is disarmed."""
        actions = self._armed.setdefault((node, step), [])
        actions.append(action)

        def disarm() -> None:
            if action in actions:
                actions.remove(action)

        return disarm

    # inside

    def _names(self) -> list[str]:
        return [node.name for node in self._topology.nodes]

    def _host(self, name: str) -> Host:
        host = self._world.network.hosts.get(name)
        if host is None:
            raise KeyError(f"no host {name!r}: known: {', '.join(self._world.network.hosts)}")
        return host

    def _process(self, name: str) -> Process | None:
        """The living process of that host."""
        process = self._host(name).process
        return None if process is None or process.state == DEAD else process

    def _delays_of(self, node: str) -> MessageDelays:
        if node not in self._delays:
            uniform = self._world.choices.uniform
            self._delays[node] = MessageDelays(lambda: uniform(MESSAGE_DELAY))
        return self._delays[node]

    def _start(self, node: str, delay_s: float) -> None:
        host = self._host(node)
        process = self._world.begin(host)
        environment = SimEnvironment(
            info=self._topology.named(node),
            topology=self._topology,
            process=process,
            rng=self._world.choices.derive(f"node/{node}/{process.incarnation}"),
            config=self._config,
            bugs=self._bugs,
            on_emit=self._report,
            on_step=self._step,
            founder=self._members[node],
            delays=self._delays_of(node),
        )
        main = self._mains[node] = self._world.spawn(process, self._main(environment, delay_s))
        main.add_done_callback(
            lambda task: self._exited(process, task), context=self._world.loop.kernel.context
        )

    async def _main(self, environment: SimEnvironment, delay_s: float) -> None:
        if delay_s:
            await asyncio.sleep(delay_s)
        await self._program(environment)

    def _exited(self, process: Process, task: asyncio.Task[Any]) -> None:
        """The program returned or raised: the process is over, as a real one would be."""
        if process.state == DEAD:
            return
        self._world.kill(process)
        error = None if task.cancelled() else task.exception()
        fields = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
        self._report(process.host.name, "exited", fields)

    def _step(self, node: str, name: str) -> None:
        self.steps[name] = self.steps.get(name, 0) + 1
        if self._armed:
            for action in tuple(self._armed.get((node, name), ())):
                self._world.as_harness(action, node)

    def _report(self, node: str, kind: str, fields: dict[str, Any]) -> None:
        event = NodeEvent(self.now_ns(), node, kind, fields)
        self._events.append(event)
        self._trace("event", node=node, event=kind, fields=fields)
        for listener in self._listeners:
            self._world.as_harness(listener, event)

    def _unhandled(self, context: dict[str, Any]) -> None:
        """asyncio would log it; here it is an event of the host, which nobody can overlook."""
        error = context.get("exception")
        if error is None or isinstance(error, ProcessKilled):
            return
        process = self._world.loop.process
        self._report(
            process.host.name,
            "unhandled-exception",
            {"message": str(context.get("message", "")), "error": f"{type(error).__name__}: {error}"},
        )

    def _trace(self, kind: str, **fields: Any) -> None:
        if self._world.network.tracer is not None:
            self._world.network.tracer.write(kind, self.now_ns(), **fields)


class SimBackend:
    """Simulated hosts on one event loop with virtual time; a seed reproduces the run to the byte."""

    description = "deterministic simulation: virtual time, simulated network, disks and clocks"
    capabilities = CAPABILITIES
    client_faults = frozenset({"clock", "power"})

    def __init__(self, replay: Recording | None = None) -> None:
        self._replay = replay

    def capabilities_with(self, system: Any) -> frozenset[str]:
        """Programs that we did not write cannot be simulated."""
        return frozenset() if isinstance(system, Foreign) else CAPABILITIES

    def check(self) -> list[tuple[str, bool, str]]:
        return []

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
        """With `sim.trace` and a folder, writes `trace.jsonl` there."""
        settings = physics(config)
        if settings.latency_min_ns > settings.latency_max_ns:
            raise UserError("sim.latency.min.ms is above sim.latency.max.ms: swap them")
        trace_path = folder / "trace.jsonl" if settings.trace and folder is not None else None
        world = World(Choices(seed, self._replay), settings, trace_path)
        cluster = SimCluster(world, system, topology, config, bugs)

        async def main() -> T:
            return await scenario(cluster)

        result: T = world.run(main)
        return result
