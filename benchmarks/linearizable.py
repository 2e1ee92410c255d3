"""How fast the checker `linearizable` is: operations a second, peak memory, and how both grow.

    python benchmarks/linearizable.py                        the whole grid
    python benchmarks/linearizable.py --sizes 10000 100000   a quick look
    python benchmarks/linearizable.py --peer PROGRAM         beside another checker, called with the file alone

Each cell runs in a process of its own, one after the other: reading the file and judging it are timed apart, in
seconds of this process's processor time, and peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from register_histories import write_history


def judge(path: Path) -> dict[str, Any]:
    """One cell, in this process."""
    from checkers.linearizable.checker import LinearizableChecker
    from harness.checker import CheckContext
    from harness.columns import read_columns

    begun = time.process_time()
    history = read_columns(path)
    read = time.process_time()
    result = LinearizableChecker().check(history, CheckContext())
    done = time.process_time()
    return {
        "load": read - begun,
        "check": done - read,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "verdict": str(result.verdict),
    }


def measured(path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--judge", str(path)]
    cell: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return cell


def of_peer(program: str, path: Path) -> str:
    begun = time.perf_counter()
    told = subprocess.run([*program.split(), str(path)], capture_output=True, text=True)
    last = (told.stdout.strip() or told.stderr.strip()).splitlines()[-1:]
    return f"{time.perf_counter() - begun:.2f} s: {last[0][:90] if last else told.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--keys", type=int, nargs="+", default=[1, 1_000])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[5, 30, 100])
    parser.add_argument("--crashed", type=float, nargs="+", default=[0.0, 0.01, 0.1])
    parser.add_argument("--histories", nargs="+", choices=["valid", "stale"], default=["valid", "stale"])
    parser.add_argument("--peer", help="another program, given the path of each history")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge is not None:
        print(json.dumps(judge(options.judge)))
        return
    print(
        "| keys | conc. | crashed | history | operations | load s | check s | op/s checked | x smaller size | op/s in all "
        "| peak MB | verdict |" + (" peer |" if options.peer else "")
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|" + ("---|" if options.peer else ""))
    grid = product(options.keys, options.concurrency, options.crashed, options.histories)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        for keys, concurrency, crashed, kind in grid:
            before = 0.0
            for size in options.sizes:
                write_history(
                    path,
                    operations=size,
                    keys=keys,
                    concurrency=concurrency,
                    crashed=crashed,
                    stale=kind == "stale",
                )
                cell = measured(path)
                load, check = cell["load"], cell["check"]
                row = [
                    f"{keys:,}",
                    str(concurrency),
                    f"{crashed:.0%}",
                    kind,
                    f"{size:,}",
                    f"{load:.2f}",
                    f"{check:.3f}",
                    f"{size / check:,.0f}",
                    f"{check / before:.1f}" if before else "",
                    f"{size / (load + check):,.0f}",
                    f"{cell['peak_mb']:,.0f}",
                    cell["verdict"],
                ]
                row += [of_peer(options.peer, path)] if options.peer else []
                print(f"| {' | '.join(row)} |", flush=True)
                before = check


if __name__ == "__main__":
    main()
