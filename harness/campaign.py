"""Many runs at once: seeds over all cores, one line each as they finish.

Runs are independent. Worker processes are replaced after some runs, so that memory stays flat whatever a
library leaves behind; at most a few runs wait at a time, so that a campaign of any length starts at once.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UserError
from harness.execute import Outcome, execute
from harness.results import Anomaly, Verdict
from harness.spec import Spec

RUNS_PER_PROCESS = 20


class Finding(msgspec.Struct, frozen=True):
    """All anomalies of one name in a run; `summary` is the first one's sentence."""

    name: str
    count: int
    summary: str


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
        anomalies=grouped(result.anomalies),
        ops=result.ops,
        situations=result.situations,
        sim_seconds=result.sim_seconds,
        wall_seconds=result.wall_seconds,
        dir=None if outcome.folder is None else str(outcome.folder),
        interrupted=result.interrupted,
        cleanup=outcome.cleanup,
    )


def grouped(anomalies: Iterable[Anomaly]) -> tuple[Finding, ...]:
    by_name: dict[str, list[Anomaly]] = {}
    for anomaly in anomalies:
        by_name.setdefault(anomaly.name, []).append(anomaly)
    return tuple(Finding(name, len(found), found[0].summary) for name, found in by_name.items())


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
    after: Callable[[Outcome], tuple[str, ...]] | None = None,
) -> Iterator[RunLine]:
    """Yields each run when it is done. `after` is called with it in the worker process (so it must be a
    function of a module) and says what failed once the verdict was safe. Ctrl-C ends the runs that are under way early (they are judged and
    yielded) and starts no more. Raises `UserError` as `execute` does; finished runs keep their folders."""
    cores = cores or os.cpu_count() or 1
    left = iter(seeds)
    # Not fork: a child must not inherit the parent's loops, patches and open files.
    processes = get_context("spawn")
    stop = processes.Event()
    pool = ProcessPoolExecutor(
        cores,
        mp_context=processes,
        max_tasks_per_child=RUNS_PER_PROCESS,
        initializer=_begin,
        initargs=(stop,),
    )
    waiting: set[Future[bytes | None]] = set()
    try:
        while True:
            while not stop.is_set() and len(waiting) < 2 * cores and (seed := next(left, None)) is not None:
                asked = msgspec.structs.replace(spec, seed=seed)
                waiting.add(pool.submit(_one, msgspec.json.encode(asked), root, after))
            if not waiting:
                return
            try:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                stop.set()
                waiting = {f for f in waiting if not f.cancel()}
                continue
            for told in [future.result() for future in done]:
                if told is not None:
                    yield msgspec.json.decode(told, type=RunLine)
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed (out of memory?): run fewer seeds at once with --cores, or look at the "
            "newest run folder"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_stop: Any = None
"""The campaign's event, in a worker process: set when no further run shall begin."""


def _begin(stop: Any) -> None:
    """A Ctrl-C reaches every process of the terminal: between two runs it is the parent's business."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one(spec: bytes, root: Path | None, after: Callable[[Outcome], tuple[str, ...]] | None) -> bytes | None:
    if _stop.is_set():
        return None
    outcome = execute(msgspec.json.decode(spec, type=Spec), root=root)
    failures = after(outcome) if after is not None else ()
    told = line(outcome)
    return msgspec.json.encode(msgspec.structs.replace(told, cleanup=told.cleanup + failures))
