"""Throughput of sweeps: one core, two cores, a local Dask cluster; and whether memory stays flat over many runs.

    python benchmarks/sweeps.py throughput --runs 40 --rounds 3
    python benchmarks/sweeps.py memory --runs 2000

For throughput a run is `produce` under `kill` with a main phase of ten simulated seconds; for memory, `register` on the
store with one of two. The ways take turns, and ratios are taken
within a round: on a machine that others use, too, they say more than rates do. Processor seconds are starting and
ending included.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from harness.campaign import RunLine
from harness.sweep import campaign
from harness.sweep.executors import Cores, Executor, executor
from harness.sweep.matrix import Matrix, Row

PAGE = os.sysconf("SC_PAGE_SIZE")
ONE, TWO, DASK_ONE, DASK_TWO = "1 core", "2 cores", "Dask, 1 worker", "Dask, 2 workers"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("throughput", "memory"))
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2, help="for memory")
    options = parser.parse_args()
    if options.what == "throughput":
        _throughput(options.runs, options.rounds)
    else:
        _memory(options.runs, options.cores)
    return 0


SAFE = Matrix(name="short", nemeses=("kill",), rows=(Row(name="safe"),), time_limit_ms=10_000)
CHEAP = msgspec.structs.replace(
    SAFE, system="quorum", workload="register", time_limit_ms=2_000, rate=10, concurrency=2
)


def _sweep(
    asked: Matrix, runs: int, where: Executor, observe: Callable[[int], None] = lambda done: None
) -> float:
    """Seconds that it took."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = campaign.create(Path(scratch), msgspec.structs.replace(asked, seeds=runs))
        started = time.monotonic()

        def seen(progress: campaign.Progress, run: RunLine) -> None:
            observe(progress.done)

        [cell] = campaign.run(folder, where, seen)
        assert cell.runs == runs
        return time.monotonic() - started


def _throughput(runs: int, rounds: int) -> None:
    import distributed

    per_minute: dict[str, list[float]] = {}
    per_run: dict[str, list[float]] = {}
    for number in range(rounds):
        for name in (ONE, TWO, DASK_ONE, DASK_TWO):
            before = _processor_time()
            if name in (ONE, TWO):
                seconds = _sweep(SAFE, runs, Cores(1 if name == ONE else 2))
            else:
                seconds = _on_dask(distributed, runs, 1 if name == DASK_ONE else 2)
            per_minute.setdefault(name, []).append(60 * runs / seconds)
            per_run.setdefault(name, []).append((_processor_time() - before) / runs)
            print(
                f"round {number}: {name}: {60 * runs / seconds:.0f} runs/min, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print("\n| | runs/min | against 1 core | processor seconds a run |\n|---|---|---|---|")
    for name, rates in per_minute.items():
        ratio = median(rate / one for rate, one in zip(rates, per_minute[ONE], strict=True))
        print(f"| {name} | {median(rates):.0f} | {ratio:.2f} | {median(per_run[name]):.2f} |")


def _processor_time() -> float:
    """Of this process and of all its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _on_dask(distributed: Any, runs: int, workers: int) -> float:
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        return _sweep(SAFE, runs, executor(f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"))


def _memory(runs: int, cores: int) -> None:
    """Resident sizes of this process and of its largest child, sampled after every run, told ten times."""
    largest = 0
    print("| runs | this process, MB | largest worker so far since the last row, MB |\n|---|---|---|")

    def observe(done: int) -> None:
        nonlocal largest
        largest = max([largest, *map(_resident, _children(os.getpid()))])
        if done % max(1, runs // 10) == 0:
            print(f"| {done} | {_resident(os.getpid()) / 1e6:.0f} | {largest / 1e6:.0f} |", flush=True)
            largest = 0

    seconds = _sweep(CHEAP, runs, Cores(cores), observe)
    print(f"\n{60 * runs / seconds:.0f} runs/min, load {os.getloadavg()[0]:.1f}")


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


if __name__ == "__main__":
    raise SystemExit(main())
