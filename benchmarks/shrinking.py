"""Ten different failures made small: before and after, and whether the pytest file fails now and passes once mended.

python benchmarks/shrinking.py [--only 3,7] [--cores N]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

CHAOS = str(Path(sys.executable).with_name("chaos"))
SEEDS = 10


class Failure(NamedTuple):
    """`words` provoke `anomaly`; taking `wrong` settings away (and every bug) mends it, as the defaults are safe.
    `instead` are settings that must be put in their place."""

    words: str
    anomaly: str
    wrong: tuple[str, ...] = ()
    instead: tuple[tuple[str, Any], ...] = ()


FAILURES = (
    Failure("--workload produce --nemesis partition --set acks=1", "lost-write", ("acks",)),
    Failure(
        "--workload produce --nemesis kill --set acks=0 --set enable.idempotence=false",
        "lost-write",
        ("acks", "enable.idempotence"),
    ),
    Failure(
        "--workload produce --nemesis unclean --set unclean.leader.election.enable=true",
        "lost-write",
        ("unclean.leader.election.enable",),
    ),
    Failure(
        "--workload produce --nemesis power --set min.insync.replicas=1",
        "lost-write",
        ("min.insync.replicas",),
    ),
    Failure(
        "--workload produce --nemesis partition --set enable.idempotence=false",
        "duplicate",
        ("enable.idempotence",),
    ),
    Failure("--workload produce --nemesis power --bug hw-advances-below-min-isr", "vanished-read"),
    Failure("--workload eos --nemesis kill --set eos.offsets=separate", "eos-duplicate", ("eos.offsets",)),
    Failure(
        "--workload eos --nemesis none --set isolation.level=read_uncommitted",
        "aborted-read",
        ("isolation.level",),
    ),
    Failure("--workload eos --nemesis pause --bug zombie-producer-not-fenced", "torn-txn"),
    Failure(
        "--system quorum --nodes 5 --workload register --nemesis clock --set conflict=lww",
        "nonlinearizable",
        ("conflict",),
        (("conflict", "abd"),),
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="numbers of failures, joined by commas")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    options = parser.parse_args()
    only = {int(number) for number in options.only.split(",") if number}
    sizes: list[tuple[int, int]] = []
    print("| | anomaly | provoked by | before | after | runs | wall s | pytest: wrong, mended |")
    print("|---|---|---|---|---|---|---|---|")
    for number, failure in enumerate(FAILURES, start=1):
        if only and number not in only:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            run = _failing(failure, scratch)
            if run is None:
                print(f"| {number} | {failure.anomaly} | `{failure.words}` | in none of {SEEDS} seeds |")
                continue
            started = time.monotonic()
            words = [run, "--anomaly", failure.anomaly, "--out", f"{scratch}/small"]
            answer = json.loads(_chaos("shrink", *words, "--cores", str(options.cores), "--json"))
            wall = time.monotonic() - started
            wrong, mended = _tested(Path(answer["test"]), failure)
            before, small = answer["before"], answer["after"]
            sizes.append((small["faults"], small["operations"]))
            print(
                f"| {number} | {failure.anomaly} | `{failure.words}` | {_told(before)} | {_told(small)} "
                f"| {answer['runs']}{' (budget)' if answer['exhausted'] else ''} | {wall:.0f} | {wrong}, {mended} |",
                flush=True,
            )
    faults, operations = zip(*sizes, strict=True)
    print(f"\nmedian of {len(sizes)}: {median(faults):g} faults, {median(operations):g} operations")
    return 0


def _failing(failure: Failure, scratch: str) -> str | None:
    """The folder of the first seed's run that shows it."""
    for seed in range(SEEDS):
        told = _chaos("test", *failure.words.split(), "--seed", str(seed), "--out", scratch, "--json")
        [run] = json.loads(told)["runs"]
        if failure.anomaly in {found["name"] for found in run["anomalies"]}:
            return str(run["dir"])
    return None


def _chaos(*words: str) -> str:
    done = subprocess.run([CHAOS, *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"chaos {' '.join(words)}\nexit {done.returncode}\n{done.stderr}")
    return done.stdout


def _tested(path: Path, failure: Failure) -> tuple[str, str]:
    """What pytest says of the file as it was written, and of the same with right settings and no bug."""
    wrong = _pytest(path)
    text = path.read_text()
    match = re.search(r'r"""\n(.*?)\n"""', text, re.DOTALL)
    assert match is not None
    spec = json.loads(match[1])
    kept = {k: v for k, v in spec["settings"].items() if k not in failure.wrong}
    spec |= {"bugs": [], "settings": kept | dict(failure.instead)}
    mended = path.with_name("test_mended.py")
    mended.write_text(text.replace(match[1], json.dumps(spec)))
    return wrong, _pytest(mended)


def _pytest(path: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(path.parent)]
    done = subprocess.run([*command, str(path)], capture_output=True, check=False, cwd=path.parent)
    return {0: "passes", 1: "fails"}.get(done.returncode, f"exit {done.returncode}")


def _told(size: dict[str, int]) -> str:
    return (
        f"{size['faults']} faults, {size['operations']:,} operations, {size['clients']} clients, "
        f"{size['nodes']} nodes, {size['time_ms'] / 1000:g} s"
    )


if __name__ == "__main__":
    raise SystemExit(main())
