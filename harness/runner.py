"""One run, from the start of the cluster to the last read: the same on every backend.

Start, set up, work while faults fire, stop, heal, recover, read everything back. Nothing that goes wrong on
the way is lost: it becomes a reason for `unknown`, with its traceback, and what can still be done is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from harness.cluster import Cluster
from harness.errors import UserError
from harness.faults import Injector
from harness.generators import Generator, Quiet
from harness.history import HistoryWriter
from harness.node import NodeEvent
from harness.plan import Plan
from harness.selectors import roles
from harness.spec import Spec
from harness.system import Administered, ClusterView
from harness.topology import Topology
from harness.workers import Worker
from harness.workload import Test

TICK_S = 0.25
"""How often the main phase looks whether somebody pressed Ctrl-C."""
STOP_TIMEOUT_S = 60
CLOSE_TIMEOUT_S = 10
EXITED = "exited"
"""The event of a node whose program returned or raised: no fault did that."""
MOST_PROBLEMS = 50


class Problem(msgspec.Struct, frozen=True):
    """Something that went wrong in the harness, a plug-in or a client: a reason not to say `valid`."""

    reason: str
    traceback: str = ""


class Interrupt:
    """Set by Ctrl-C and SIGTERM; polled by the runner. The first asks for an early but orderly end."""

    def __init__(self) -> None:
        self.requested = False


class Phases(msgspec.Struct):
    """When the parts of a run began, in nanoseconds since its start; None for those never reached."""

    main_ns: int | None = None
    main_end_ns: int | None = None
    healed_ns: int | None = None
    recovered_ns: int | None = None
    final_ns: int | None = None
    end_ns: int | None = None


class Live(msgspec.Struct):
    """The run so far, for a progress line. `ops` counts completed client operations by outcome."""

    now_ns: int = 0
    phase: str = "start"
    faults: tuple[str, ...] = ()
    ops: dict[str, int] = msgspec.field(default_factory=lambda: {"ok": 0, "fail": 0, "info": 0})


class Recording(msgspec.Struct):
    """What a run leaves behind besides its history. Filled as it goes, so that an abort loses nothing."""

    events: list[NodeEvent] = msgspec.field(default_factory=list)
    problems: list[Problem] = msgspec.field(default_factory=list)
    phases: Phases = msgspec.field(default_factory=Phases)
    steps: dict[str, int] = msgspec.field(default_factory=dict)
    cleanup: list[str] = msgspec.field(default_factory=list)
    """What failed after the verdict was safe."""
    trace_digest: str | None = None
    end_ns: int = 0


class Runner:
    """One run of a plan. `observe` is called at every event of the history and every phase."""

    def __init__(
        self,
        plan: Plan,
        *,
        writer: Callable[[Callable[[], int]], HistoryWriter],
        record_event: Callable[[NodeEvent], None],
        interrupt: Interrupt,
        recording: Recording,
        observe: Callable[[Live], None] | None = None,
    ) -> None:
        self._plan = plan
        self._make_writer = writer
        self._record_event = record_event
        self._interrupt = interrupt
        self._recording = recording
        self._observe = observe
        self._live = Live()
        self._writer: HistoryWriter | None = None
        self._counted = 0
        self._stopping = False
        self._injector: Injector | None = None

    async def scenario(self, cluster: Cluster) -> None:
        """Raises `UserError` where the run could not begin, or its history could not be written."""
        plan, recording = self._plan, self._recording
        view = plan.system.view(plan.topology)

        def heard(event: NodeEvent) -> None:
            recording.events.append(event)
            self._record_event(event)
            view.observe(event)
            if event.kind == EXITED and not self._stopping and not self._has_reason(event.node):
                why = event.fields.get("error", "without an error")
                self._problem(f"node {event.node} died by itself at {event.time / 1e9:.3f} s: {why}")

        cluster.on_event(heard)
        writer = self._writer = self._make_writer(cluster.now_ns)
        try:
            await self._guarded("run", self._live_through(cluster, view, writer))
        finally:
            recording.phases.end_ns = recording.end_ns = cluster.now_ns()
            recording.steps = dict(sorted(getattr(cluster, "steps", {}).items()))
        await self._stop(cluster)
        digest = getattr(cluster, "trace_digest", None)
        recording.trace_digest = digest() if digest is not None else None

    def _has_reason(self, node: str) -> bool:
        """Whether a fault explains that the node's program ended: it may stop where it can write nothing."""
        return self._injector is not None and self._injector.damage.stopped_by_itself(node)

    async def _stop(self, cluster: Cluster) -> None:
        """The history is complete: a failed teardown is told, and changes no verdict."""
        self._stopping = True
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await cluster.stop()
        except Exception as error:
            self._recording.cleanup.append(f"teardown failed: {type(error).__name__}: {error}")

    async def _live_through(self, cluster: Cluster, view: ClusterView, writer: HistoryWriter) -> None:
        plan, spec = self._plan, self._plan.spec
        self._phase("start", cluster)
        await cluster.start()
        await self._ready(cluster)
        test = Test(
            system=plan.system,
            cluster=cluster,
            topology=plan.topology,
            config=spec.config,
            concurrency=spec.concurrency,
            rate=spec.rate,
            time_limit_ms=spec.time_limit_ms,
            random=random.Random(f"{spec.seed}:workload"),
        )
        await self._setup(test)
        injector = self._injector = Injector(
            cluster,
            view,
            plan.schedule,
            writer,
            seed=spec.seed,
            problem=self._problem,
            administered=plan.system if isinstance(plan.system, Administered) else None,
            change_timeout_s=spec.config["membership.timeout.ms"] / 1000,
        )
        draws = random.Random(f"{spec.seed}:generator")
        workers = [
            Worker(
                slot,
                workload=plan.workload,
                test=test,
                host=cluster.client_host(host),
                writer=writer,
                rng=draws,
                problem=self._problem,
            )
            for slot, host in enumerate(plan.topology.clients)
        ]
        try:
            await self._main_phase(cluster, test, workers, injector)
            await self._heal(cluster, injector)
            await self._final_phase(cluster, test, workers)
        except UserError:
            # Client libraries that nobody closed complain of it behind the one line that counts.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    for worker in workers:
                        await worker.close()
            raise
        for worker in workers:
            await worker.close()

    def _problem(self, reason: str, trace: str = "") -> None:
        """The first of a kind says it all: a client bug that strikes a thousand times is one problem."""
        problems = self._recording.problems
        known = any(p.traceback == trace if trace else p.reason == reason for p in problems)
        if not known and len(problems) < MOST_PROBLEMS:
            problems.append(Problem(reason, trace))

    def _phase(self, name: str, cluster: Cluster) -> int:
        self._live.phase = name
        self._look(cluster)
        return cluster.now_ns()

    def _look(self, cluster: Cluster) -> None:
        if self._observe is None or self._writer is None:
            return
        ops = self._writer.ops
        for op in ops[self._counted :]:
            if op.type != "invoke" and not op.is_fault:
                self._live.ops[op.type] += 1
        self._counted = len(ops)
        self._live.now_ns = cluster.now_ns()
        self._observe(self._live)

    async def _ready(self, cluster: Cluster) -> None:
        timeout_ms = self._plan.spec.config["ready.timeout.ms"]
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._plan.system.ready(cluster)
        except TimeoutError:
            down = [name for name in cluster.members if not cluster.running(name)]
            raise UserError(
                f"system '{self._plan.spec.system}' was not ready after {timeout_ms / 1000:g} s"
                + (f"; not running: {', '.join(down)}" if down else "")
                + ": look at the node logs in the run folder, or raise --set ready.timeout.ms"
            ) from None

    async def _setup(self, test: Test) -> None:
        timeout_ms = test.config["setup.timeout.ms"]
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._plan.workload.setup(test)
        except TimeoutError:
            raise UserError(
                f"workload '{self._plan.spec.workload}' could not be set up within {timeout_ms / 1000:g} s "
                "on a whole cluster: raise --set setup.timeout.ms, or look at the node logs"
            ) from None

    async def _main_phase(
        self, cluster: Cluster, test: Test, workers: Sequence[Worker], injector: Injector
    ) -> None:
        start_ns = self._recording.phases.main_ns = self._phase("run", cluster)
        generator = self._made(lambda: self._plan.workload.generator(test))
        if generator is None:
            return
        if limit := test.config["ops.limit"]:
            generator = Quiet(generator, limit)
        faults = asyncio.ensure_future(self._guarded("nemesis", injector.run()))
        deadline_ns = start_ns + self._plan.spec.time_limit_ms * 1_000_000

        def over() -> bool:
            self._live.faults = injector.active
            return self._interrupt.requested or cluster.now_ns() >= deadline_ns

        await self._work(cluster, test, workers, generator, over, deadline_ns)
        faults.cancel()
        await asyncio.wait([faults])
        self._recording.phases.main_end_ns = cluster.now_ns()

    async def _work(
        self,
        cluster: Cluster,
        test: Test,
        workers: Sequence[Worker],
        generator: Generator,
        over: Callable[[], bool],
        deadline_ns: int,
    ) -> bool:
        """Runs all workers until the generator is exhausted (true) or `over`; then lets open operations end."""
        start_ns = self._recording.phases.main_ns
        assert start_ns is not None
        tasks: list[asyncio.Future[bool]] = []
        for worker in workers:
            worker.stopping = False
            tasks.append(
                asyncio.ensure_future(
                    self._guarded(f"workload '{self._plan.spec.workload}'", worker.run(generator, start_ns))
                )
            )
        while not over() and not all(t.done() for t in tasks):
            if any(t.done() and (t.exception() is not None or not t.result()) for t in tasks):
                break
            self._look(cluster)
            left_s = (deadline_ns - cluster.now_ns()) / 1e9
            await asyncio.wait(tasks, timeout=max(min(TICK_S, left_s), 0.001))
        finished = all(t.done() and t.exception() is None and t.result() for t in tasks)
        for worker, task in zip(workers, tasks, strict=True):
            worker.stopping = True
            if not worker.busy:
                task.cancel()
        longest_s = test.config["op.timeout.ms"] / 1000
        _, open_tasks = await asyncio.wait(tasks, timeout=longest_s + 5)
        for task in tasks:
            if task in open_tasks:
                task.cancel()
        await asyncio.wait(tasks)
        for error in [task.exception() for task in tasks if not task.cancelled()]:
            if error is not None:
                raise error
        return finished

    async def _heal(self, cluster: Cluster, injector: Injector) -> None:
        spec, phases = self._plan.spec, self._recording.phases
        self._phase("heal", cluster)
        if spec.final == "none":
            return
        core = _core(self._plan.topology, cluster.members, spec) if spec.final == "core" else None
        await self._guarded("heal", injector.heal_all(only=core))
        phases.healed_ns = cluster.now_ns()
        self._live.faults = injector.active
        for heal in injector.unproven_heals:
            self._problem(f"it could not be verified that faults were undone: {heal}")
        for node in cluster.members:
            if injector.damage.should_run(node) and not cluster.running(node):
                self._problem(f"node {node} does not run after the heal: see its log in the run folder")
        if core is not None:
            return
        self._phase("recover", cluster)
        timeout_ms = spec.config["recovery.timeout.ms"]
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                if await self._guarded("recovery", self._plan.system.recovered(cluster)):
                    phases.recovered_ns = cluster.now_ns()
        except TimeoutError:
            self._problem(f"the cluster had not recovered {timeout_ms / 1000:g} s after the heal")

    async def _final_phase(self, cluster: Cluster, test: Test, workers: Sequence[Worker]) -> None:
        generator = self._made(lambda: self._plan.workload.final_generator(test))
        if generator is None:
            return
        start_ns = self._recording.phases.final_ns = self._phase("final", cluster)
        timeout_ms = test.config["final.timeout.ms"]
        deadline_ns = start_ns + timeout_ms * 1_000_000
        finished = await self._work(
            cluster, test, workers, generator, lambda: cluster.now_ns() >= deadline_ns, deadline_ns
        )
        if not finished and self._plan.spec.final != "none":
            self._problem(f"the final phase was not over after {timeout_ms / 1000:g} s")

    def _made(self, make: Callable[[], Generator | None]) -> Generator | None:
        try:
            return make()
        except Exception as error:
            self._problem(f"generator: {type(error).__name__}: {error}", _trace(error))
            return None

    async def _guarded(self, what: str, work: Awaitable[Any]) -> bool:
        """False, and a problem with its traceback, where the work raised. `UserError` passes."""
        try:
            await work
        except UserError:
            raise
        except Exception as error:
            self._problem(f"{what}: {type(error).__name__}: {error}", _trace(error))
            return False
        return True


def _core(topology: Topology, members: Sequence[str], spec: Spec) -> frozenset[str]:
    """All client hosts, and of every role all but so many nodes that a majority of any of its replica sets is there."""
    rng = random.Random(f"{spec.seed}:core")
    chosen: list[str] = list(topology.clients)
    for role in roles(topology):
        names = [node.name for node in topology.with_role(role) if node.name in members]
        copies = min(len(names), int(spec.config.get("replication.factor", len(names))))
        spared = max(0, copies - 1) // 2
        chosen += rng.sample(names, len(names) - spared)
    return frozenset(chosen)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
