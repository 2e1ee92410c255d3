"""How fast simulated time passes, where real time goes, and what a run keeps in memory.

    python benchmarks/simulation.py speed     simulated seconds per second, operations per second, events per operation
    python benchmarks/simulation.py layers    share of the time by layer, under the profiler
    python benchmarks/simulation.py memory    peak resident size at 10,000 and at 100,000 operations

Each figure comes from a process of its own with the hash seed pinned, after a short run that imports everything.
Speeds are of the run itself, verdict and history included; `--json` prints one object a line.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

WORKLOADS = ("eos", "produce")
NEMESES = ("none", "partition")
OPERATIONS = (10_000, 100_000)
LAYERS = (
    ("/aiokafka/", "aiokafka"),
    ("/kio/", "kio"),
    ("/harness/sim/", "simulator"),
    ("/systems/kafka/", "client adapter"),
    ("/systems/raft/", "raft"),
    ("/systems/", "broker"),
    ("/workloads/", "workload"),
    ("/checkers/", "checkers"),
    ("/harness/", "harness"),
    ("asyncio", "asyncio"),
    ("~", "C functions"),
)
"""A file's path holds this -> its layer. The first that fits."""


def measure(workload: str, nemesis: str, seconds: float, profiled: bool) -> dict[str, Any]:
    """One run in this process, after a short one."""
    from harness.execute import execute
    from harness.sim.loop import SimLoop
    from harness.spec import Spec

    loops: list[SimLoop] = []
    begin = SimLoop.__init__

    def noted(self: SimLoop, *args: Any) -> None:
        begin(self, *args)
        loops.append(self)

    setattr(SimLoop, "__init__", noted)  # noqa: B010 - mypy knows no other way to replace it
    with tempfile.TemporaryDirectory() as folder:
        execute(Spec(workload=workload, nemesis=nemesis, time_limit_ms=1_000), root=Path(folder))
        before_mb = _peak_mb()
        loops.clear()
        spec = Spec(workload=workload, nemesis=nemesis, time_limit_ms=int(seconds * 1000), seed=1)
        profile = cProfile.Profile()
        wall, cpu = time.perf_counter(), time.process_time()
        if profiled:
            profile.enable()
        result = execute(spec, root=Path(folder)).result
        if profiled:
            profile.disable()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    operations = sum(result.ops.values())
    callbacks = sum(loop.callbacks for loop in loops)
    return {
        "workload": workload,
        "nemesis": nemesis,
        "verdict": result.verdict,
        "operations": operations,
        "simulated_s": result.sim_seconds,
        "simulated_per_wall": round(result.sim_seconds / wall, 1),
        "simulated_per_cpu": round(result.sim_seconds / cpu, 1),
        "operations_per_cpu_s": round(operations / cpu),
        "events_per_operation": round(callbacks / operations, 1),
        "cpu_us_per_event": round(cpu / callbacks * 1e6, 1),
        "peak_mb": round(_peak_mb()),
        "peak_before_mb": round(before_mb),
        "layers": _shares(profile) if profiled else {},
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    """Per cent of the profiled time that was spent in the functions of each layer themselves."""
    spent: Counter[str] = Counter()
    for (path, _, _), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        spent[next((layer for part, layer in LAYERS if part in path), "other libraries")] += own
    total = sum(spent.values())
    return {layer: round(100 * own / total, 1) for layer, own in spent.most_common()}


def in_process(workload: str, nemesis: str, seconds: float, *, profiled: bool = False) -> dict[str, Any]:
    """The same in a process of its own."""
    words = [
        sys.executable,
        __file__,
        "measure",
        "--only",
        f"{workload}/{nemesis}",
        "--seconds",
        str(seconds),
    ]
    if profiled:
        words.append("--profiled")
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{workload}/{nemesis} failed:\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def speed(rows: list[tuple[str, str]], seconds: float, as_json: bool) -> None:
    title = f"{'':20}{'x wall':>8}{'x CPU':>8}{'ops/s':>8}{'events/op':>11}{'us/event':>10}"
    if not as_json:
        print(title)
    for workload, nemesis in rows:
        found = in_process(workload, nemesis, seconds)
        if as_json:
            print(json.dumps(found))
            continue
        print(
            f"{workload + '/' + nemesis:20}{found['simulated_per_wall']:>8}{found['simulated_per_cpu']:>8}"
            f"{found['operations_per_cpu_s']:>8}{found['events_per_operation']:>11}"
            f"{found['cpu_us_per_event']:>10}   {found['verdict']}"
        )


def layers(rows: list[tuple[str, str]], seconds: float, as_json: bool) -> None:
    for workload, nemesis in rows:
        found = in_process(workload, nemesis, seconds, profiled=True)
        shares = ", ".join(f"{layer} {share} %" for layer, share in found["layers"].items())
        print(json.dumps(found) if as_json else f"{workload}/{nemesis}: {shares}")


def memory(rows: list[tuple[str, str]], as_json: bool) -> None:
    """As many simulated seconds as the wanted operations take at the default rate."""
    for workload, nemesis in rows:
        short = in_process(workload, nemesis, 60)
        per_second = short["operations"] / 60
        for operations in OPERATIONS:
            found = in_process(workload, nemesis, operations / per_second)
            if as_json:
                print(json.dumps(found), flush=True)
                continue
            grown_kb = (found["peak_mb"] - found["peak_before_mb"]) * 1024 / found["operations"]
            print(
                f"{workload}/{nemesis}: {found['operations']:,} operations, peak {found['peak_mb']} MB, "
                f"{grown_kb:.1f} KB an operation beyond the {found['peak_before_mb']} MB before, "
                f"{found['simulated_per_cpu']} x CPU",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("speed", "layers", "memory", "measure"))
    parser.add_argument("--only", help="one row, as eos/none")
    parser.add_argument("--seconds", type=float, default=60, help="simulated seconds of the main phase")
    parser.add_argument("--profiled", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [(w, n) for w in WORKLOADS for n in (NEMESES if given.what == "speed" else NEMESES[:1])]
    if given.only:
        workload, _, nemesis = given.only.partition("/")
        rows = [(workload, nemesis or "none")]
    match given.what:
        case "speed":
            speed(rows, given.seconds, given.json)
        case "layers":
            layers(rows, given.seconds, given.json)
        case "memory":
            memory(rows, given.json)
        case "measure":
            ((workload, nemesis),) = rows
            print(json.dumps(measure(workload, nemesis, given.seconds, given.profiled)))


if __name__ == "__main__":
    main()
