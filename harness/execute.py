"""One run as a whole: folder, cluster, history, verdict. What `chaos test` does for each seed."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import msgspec

from harness import repro, store
from harness.checker import CheckContext
from harness.client_log import ClientLog, client_log
from harness.errors import UserError
from harness.history import History, HistoryWriter
from harness.judge import RunResult, judge
from harness.node import NodeEvent
from harness.plan import Plan, resolve
from harness.runner import Interrupt, Live, Problem, Recording, Runner
from harness.spec import Spec
from harness.system import System


class Outcome(msgspec.Struct, frozen=True):
    """A finished run. `cleanup` says what failed once the verdict was safe."""

    spec: Spec
    result: RunResult
    folder: Path | None
    cleanup: tuple[str, ...] = ()
    history: History | None = None


def execute(
    spec: Spec,
    *,
    root: Path | None,
    observe: Callable[[Live], None] | None = None,
) -> Outcome:
    """Resolves, runs, judges and stores. `root` None keeps everything in memory.

    Raises `UserError` for whatever `plan.resolve` refuses, for a cluster that does not come up and for a
    folder that cannot be written; anything else that goes wrong ends in the verdict `unknown`.
    """
    return carry_out(resolve(spec), asked=spec, root=root, observe=observe)


def carry_out(
    plan: Plan,
    *,
    asked: Spec,
    root: Path | None,
    observe: Callable[[Live], None] | None = None,
    begun: Callable[[Path], None] | None = None,
) -> Outcome:
    """`begun` is called with the run folder before anything runs."""
    started = time.monotonic()
    folder = None if root is None else store.create(root, plan.spec, plan.schedule)
    if folder is not None and begun is not None:
        begun(folder)
    recording, interrupt = Recording(), Interrupt()
    history = _run(plan, folder, recording, interrupt, observe)
    result = judge_run(
        plan.spec, plan.system, plan.workload.checkers, history, recording, len(plan.schedule.faults)
    )
    result.interrupted = interrupt.requested
    result.repro = repro.command(asked, schedule_file=_schedule_file(folder))
    result.sim_seconds = round(recording.end_ns / 1e9, 3)
    result.wall_seconds = round(time.monotonic() - started, 3)
    result.phases = recording.phases
    result.steps = recording.steps
    result.trace_digest = recording.trace_digest
    if folder is not None:
        result.history_digest = digest(folder / store.HISTORY)
        try:
            store.write_result(folder, result)
        except UserError as error:
            # A verdict that could not be stored is still told.
            recording.cleanup.append(str(error))
    return Outcome(plan.spec, result, folder, tuple(recording.cleanup), history)


def judge_run(
    spec: Spec,
    system: System,
    checkers: tuple[str, ...],
    history: History,
    recording: Recording,
    scheduled: int,
    options: Mapping[str, object] | None = None,
) -> RunResult:
    """The verdict with what only the run's declaration adds: situations, promise, seed."""
    context = CheckContext(
        system=spec.system,
        workload=spec.workload,
        config=spec.config,
        bugs=frozenset(spec.bugs),
        events=recording.events,
        options=options or {},
    )
    nemesis_on = scheduled > 0 or spec.nemesis != "none"
    result = judge(
        history,
        context,
        checkers,
        scheduled=scheduled if nemesis_on else None,
        problems=recording.problems,
    )
    result.situations = system.count_situations(recording.events)
    result.promise = system.promise(spec.config)
    result.seed = spec.seed
    result.chaos_version = spec.chaos_version
    return result


def _run(
    plan: Plan,
    folder: Path | None,
    recording: Recording,
    interrupt: Interrupt,
    observe: Callable[[Live], None] | None,
) -> History:
    writers: list[HistoryWriter] = []
    events = None if folder is None else store.EventWriter(folder)

    def make_writer(now_ns: Callable[[], int]) -> HistoryWriter:
        made = HistoryWriter(None, now_ns) if folder is None else store.RunWriter(folder, now_ns)
        writers.append(made)
        if log is not None:
            log.now_ns = now_ns
        return made

    def record_event(event: NodeEvent) -> None:
        if events is not None:
            events.append(event)

    runner = Runner(
        plan,
        writer=make_writer,
        record_event=record_event,
        interrupt=interrupt,
        recording=recording,
        observe=observe,
    )
    log: ClientLog | None = None
    try:
        with _interruptible(interrupt), client_log(folder) as log:
            plan.backend.run(
                runner.scenario,
                system=plan.system,
                topology=plan.topology,
                config=plan.spec.config,
                bugs=frozenset(plan.spec.bugs),
                seed=plan.spec.seed,
                folder=folder,
            )
    except UserError:
        raise
    except KeyboardInterrupt:
        recording.problems.append(Problem("interrupted twice: stopped at once, nothing was read back"))
        interrupt.requested = True
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        recording.problems.append(Problem(f"the run broke off: {type(error).__name__}: {error}", trace))
    finally:
        for writer in writers:
            with contextlib.suppress(OSError):
                writer.close()
        if events is not None:
            events.close()
    return writers[0].history() if writers else History([])


@contextlib.contextmanager
def _interruptible(interrupt: Interrupt) -> Iterator[None]:
    """Ctrl-C once: an early, orderly end. Twice: at once. SIGTERM is as one Ctrl-C, however often it comes: `timeout`
    and supervisors send it to a process and again to its group. Only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pressed(signum: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    def told(signum: int, frame: FrameType | None) -> None:
        interrupt.requested = True

    before = {
        number: signal.signal(number, do) for number, do in ((signal.SIGINT, pressed), (signal.SIGTERM, told))
    }
    try:
        yield
    finally:
        for number, do in before.items():
            signal.signal(number, do)


def _schedule_file(folder: Path | None) -> str:
    return "schedule.json" if folder is None else str(folder / store.SCHEDULE)


def digest(path: Path) -> str:
    """blake2b of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
