"""How fast the checker `elle` is: transactions a second, peak memory, and how both grow.

    python benchmarks/transactions.py                      the grid of the table in RESULTS.md
    python benchmarks/transactions.py --sizes 10000        a quick look
    python benchmarks/transactions.py --peer 0.83,4.67,36.6   beside a peer's seconds at the same sizes

Each cell runs in a process of its own, one after the other: reading the file and judging it are timed apart, strict
serializability is checked (real time included), and peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import transaction_histories

PLANTED = ("G1c", "G-single", "G2-item")


def judge(path: Path, model: str) -> dict[str, object]:
    """One cell, in this process."""
    import scipy.sparse.csgraph  # noqa: F401  (starting is not judging)

    from checkers.transactions import ElleChecker
    from harness.checker import CheckContext

    checker, context = ElleChecker(), CheckContext(options={"model": model})
    begun = time.perf_counter()
    history = checker.read(path, context)
    read, used = time.perf_counter(), time.process_time()
    result = checker.check(history, context)
    done = time.perf_counter()
    return {
        "load": read - begun,
        "check": done - read,
        "cpu": time.process_time() - used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "verdict": str(result.verdict),
        "found": sorted({a.name for a in result.anomalies}),
    }


def measured(path: Path, model: str) -> dict[str, float | str | list[str]]:
    told = subprocess.run(
        [sys.executable, __file__, "--judge", str(path), "--models", model], check=True, capture_output=True
    )
    cell: dict[str, float | str | list[str]] = json.loads(told.stdout)
    return cell


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--models", nargs="+", default=["list-append", "rw-register"])
    parser.add_argument("--crashed", type=float, default=0.0, help="share of transactions that end in info")
    parser.add_argument("--peer", help="seconds of a peer, one a size, for list-append at concurrency 10")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge is not None:
        print(json.dumps(judge(options.judge, options.models[0])))
        return
    peer = dict(zip(options.sizes, map(float, options.peer.split(",")), strict=True)) if options.peer else {}
    print(
        "| model | conc. | history | txns | load s | check s | cpu s | txn/s | x smaller size | peak MB | found | x peer |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        for model in options.models:
            for concurrency in options.concurrency:
                for planted in ((), PLANTED):
                    before = 0.0
                    for size in options.sizes:
                        transaction_histories.write(
                            path,
                            transactions=size,
                            concurrency=concurrency,
                            lists=model == "list-append",
                            planted=planted,
                            crashed=options.crashed,
                        )
                        cell = measured(path, model)
                        check = float(str(cell["check"]))
                        ratio = f"{check / before:.1f}" if before else ""
                        ahead = f"{peer[size] / check:.1f}" if size in peer and model == "list-append" else ""
                        found = " ".join(cell["found"]) if isinstance(cell["found"], list) else ""
                        print(
                            f"| {model} | {concurrency} | {'planted' if planted else 'clean'} | {size:,} "
                            f"| {float(str(cell['load'])):.2f} | {check:.2f} | {float(str(cell['cpu'])):.2f} | {size / check:,.0f} | {ratio} "
                            f"| {float(str(cell['peak_mb'])):,.0f} | {cell['verdict']} {found} | {ahead} |",
                            flush=True,
                        )
                        before = check


if __name__ == "__main__":
    main()
