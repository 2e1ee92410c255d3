"""Many runs at once: seeds over all cores, one line each as they finish.

Runs are independent. Worker processes are replaced after some runs, so that memory stays flat whatever a
library leaves behind; at most a few runs wait at a time, so that a campaign of any length starts at once.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from harness.determinism import HASH_SEED
from harness.errors import UserError
from harness.execute import Outcome, execute
from harness.history import History
from harness.results import Anomaly, Result, Verdict
from harness.spec import Spec

RUNS_PER_PROCESS = 20
PARENT_HEARS_S = 5.0
POLL_S = 0.01

After = Callable[[Outcome], tuple[str, ...]]


class Detection(msgspec.Struct, frozen=True):
    """When the witness was complete: operations completed by then, and seconds since the run began."""

    operations: int
    seconds: float


class Finding(msgspec.Struct, frozen=True):
    """All anomalies of one name in a run; `summary` is the first one's sentence, `affected` the records (or
    whatever they concern) of all of them."""

    name: str
    count: int
    summary: str
    affected: int = 0
    detected: Detection | None = None
    """Of the anomaly whose witness was complete first."""


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says in numbers, of its operations that change something; None where it had none of them."""

    acknowledged: int | None = None
    available: float | None = None
    """Share of the completed ones that were `ok`."""
    p50_ms: float | None = None
    p99_ms: float | None = None


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run as `--json` tells it."""

    seed: int
    verdict: Verdict
    reason: str | None
    anomalies: tuple[Finding, ...]
    ops: dict[str, int]
    situations: dict[str, int]
    sim_seconds: float
    wall_seconds: float
    dir: str | None
    measures: Measures = Measures()
    history_digest: str | None = None
    steps: dict[str, int] = msgspec.field(default_factory=dict)
    interrupted: bool = False
    cleanup: tuple[str, ...] = ()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What `chaos test --json` prints."""

    verdict: Verdict
    reason: str | None
    runs: tuple[RunLine, ...]


def line(outcome: Outcome) -> RunLine:
    result = outcome.result
    return RunLine(
        seed=outcome.spec.seed,
        verdict=result.verdict,
        reason=result.reason,
        anomalies=grouped(result.anomalies, outcome.history),
        ops=result.ops,
        situations=result.situations,
        sim_seconds=result.sim_seconds,
        wall_seconds=result.wall_seconds,
        dir=None if outcome.folder is None else str(outcome.folder),
        measures=measures(result.results),
        history_digest=result.history_digest,
        steps=result.steps,
        interrupted=result.interrupted,
        cleanup=outcome.cleanup,
    )


def grouped(anomalies: Iterable[Anomaly], history: History | None = None) -> tuple[Finding, ...]:
    by_name: dict[str, list[Anomaly]] = {}
    for anomaly in anomalies:
        by_name.setdefault(anomaly.name, []).append(anomaly)
    return tuple(
        Finding(name, len(found), found[0].summary, sum(a.affected for a in found), _detected(found, history))
        for name, found in by_name.items()
    )


def _detected(anomalies: list[Anomaly], history: History | None) -> Detection | None:
    last = [max(anomaly.ops) for anomaly in anomalies if anomaly.ops]
    if history is None or not last or min(last) >= len(history.ops):
        return None
    until = history.ops[: min(last) + 1]
    completed = sum(op.type != "invoke" and not op.is_fault for op in until)
    return Detection(completed, round(until[-1].time / 1e9, 3))


LOOKING = frozenset({"poll", "read", "get", "end-offset", "committed", "replicas"})
"""Operations that change nothing; those of the final phase begin with `final-`."""


def measures(results: Iterable[Result]) -> Measures:
    """From what the checkers measured."""
    results = tuple(results)
    told = [r.measures.get("acknowledged") for r in results]
    acknowledged = next((number for number in told if isinstance(number, int)), None)
    kinds = [
        measured
        for r in results
        if r.checker == "availability"
        for f, measured in r.measures.items()
        if f not in LOOKING and not f.startswith("final-") and isinstance(measured, dict) and "ok" in measured
    ]
    ok = sum(kind["ok"] for kind in kinds)
    completed = ok + sum(kind["fail"] + kind["info"] for kind in kinds)
    heaviest = max(kinds, key=lambda kind: kind["ok"], default={})
    latency = heaviest.get("latency_ms") or {}
    return Measures(
        acknowledged=acknowledged,
        available=round(ok / completed, 4) if completed else None,
        p50_ms=latency.get("p50"),
        p99_ms=latency.get("p99"),
    )


def summarise(runs: Iterable[RunLine]) -> Summary:
    """Invalid if any run is; else unknown if any is; else valid."""
    lines = tuple(sorted(runs, key=lambda r: r.seed))
    counts = Counter(r.verdict for r in lines)
    if counts[Verdict.INVALID]:
        verdict = Verdict.INVALID
    elif counts[Verdict.UNKNOWN] or not lines:
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.VALID
    return Summary(verdict=verdict, reason=_reason(lines, counts), runs=lines)


def _reason(lines: tuple[RunLine, ...], counts: Counter[Verdict]) -> str | None:
    if not lines:
        return "no run finished"
    if len(lines) == 1:
        return lines[0].reason
    if not counts[Verdict.UNKNOWN]:
        return None
    first = next(r for r in lines if r.verdict is Verdict.UNKNOWN)
    return f"{counts[Verdict.UNKNOWN]} of {len(lines)} runs: seed {first.seed}: {first.reason}"


def run_seeds(
    spec: Spec,
    seeds: Iterable[int],
    *,
    root: Path | None,
    cores: int | None = None,
    after: After | None = None,
) -> Iterator[RunLine]:
    """`run_specs` of one spec under many seeds."""
    specs = (msgspec.structs.replace(spec, seed=seed) for seed in seeds)
    return (run for _, run in run_specs(specs, root=root, cores=cores, after=after))


def run_specs(
    specs: Iterable[Spec],
    *,
    root: Path | None,
    cores: int | None = None,
    after: After | None = None,
    interrupted: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, RunLine]]:
    """Yields each run, with its position among the specs, when it is done. `after` is called with it in the
    worker process (so it must be a function of a module) and says what failed once the verdict was safe. Ctrl-C
    ends the runs that are under way early (they are judged and yielded) and starts no more; `interrupted` is called
    then. Raises `UserError` as `execute` does; finished runs keep their folders."""
    with Pool(cores) as pool:
        left = enumerate(specs)
        waiting: dict[Future[bytes | None], int] = {}
        while True:
            while not pool.stopping and len(waiting) < 2 * pool.cores and (asked := next(left, None)):
                position, spec = asked
                waiting[pool.submit(spec, root, after)] = position
            if not waiting:
                return
            try:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                pool.stop()
                interrupted()
                waiting = {future: at for future, at in waiting.items() if not future.cancel()}
                continue
            for future in done:
                position = waiting.pop(future)
                run = pool.answer(future)
                if run is not None:
                    yield position, run


class Pool:
    """Worker processes that run specs. Raises `UserError` where one of them is killed."""

    def __init__(self, cores: int | None = None) -> None:
        self.cores = cores or os.cpu_count() or 1
        # Those who do not come through the command line have not pinned it; their workers inherit it from here.
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        # Not fork: a child must not inherit the parent's loops, patches and open files.
        processes = get_context("spawn")
        # Without a lock: it is read in a signal handler.
        self._stop = processes.RawValue("b", 0)
        self.broken = False
        self._executor = ProcessPoolExecutor(
            self.cores,
            mp_context=processes,
            max_tasks_per_child=RUNS_PER_PROCESS,
            initializer=_begin,
            initargs=(self._stop,),
        )

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    @property
    def stopping(self) -> bool:
        return bool(self._stop.value)

    def stop(self) -> None:
        """No further run begins; those under way are told to end early, as by a Ctrl-C."""
        self._stop.value = 1
        for worker in active_children():
            worker.terminate()

    def submit(self, spec: Spec, root: Path | None, after: After | None = None) -> Future[bytes | None]:
        try:
            return self._executor.submit(_one, msgspec.json.encode(spec), root, after)
        except BrokenProcessPool:
            self.broken = True
            raise _KILLED from None

    def answer(self, future: Future[bytes | None]) -> RunLine | None:
        """None for a run that did not begin. Waits where it is not done."""
        try:
            told = future.result()
        except BrokenProcessPool:
            self.broken = True
            if self.stopping:
                # Told to end before it could listen.
                return None
            raise _KILLED from None
        return None if told is None else msgspec.json.decode(told, type=RunLine)


_KILLED = UserError(
    "a worker process was killed (out of memory?): run fewer seeds at once with --cores, or look at the "
    "newest run folder"
)


_stop: Any = None
"""Of the campaign, in a worker process: its value is set when no further run shall begin."""


def _begin(stop: Any) -> None:
    """A Ctrl-C reaches every process of the terminal: between two runs it is the parent's business."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told_to_end)


def _told_to_end(signum: int, frame: FrameType | None) -> None:
    """Between two runs."""
    _end_unless_stopped()


def _end_unless_stopped() -> None:
    """The parent tells everybody once the campaign stops, and a supervisor may have told the whole group before. Who
    is told to end without a stop has no parent that waits for it any more, or a broken pool."""
    deadline = time.monotonic() + PARENT_HEARS_S
    while not _stop.value:
        if time.monotonic() > deadline:
            # The executor would take a SystemExit for the answer of the run.
            os._exit(1)
        time.sleep(POLL_S)


def _one(spec: bytes, root: Path | None, after: After | None) -> bytes | None:
    if _stop.value:
        return None
    outcome = execute(msgspec.json.decode(spec, type=Spec), root=root)
    if outcome.result.interrupted:
        _end_unless_stopped()
    failures = after(outcome) if after is not None else ()
    told = line(outcome)
    return msgspec.json.encode(msgspec.structs.replace(told, cleanup=told.cleanup + failures))
