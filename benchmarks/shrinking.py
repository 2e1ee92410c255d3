"""Ten different failures made small: before and after, and whether the pytest file fails as it should.

python benchmarks/shrinking.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

CHAOS = str(Path(sys.executable).with_name("chaos"))
FAILURES = (
    ("--workload produce --nemesis partition --set acks=1", "lost-write"),
    ("--workload produce --nemesis kill --set acks=0 --set enable.idempotence=false", "lost-write"),
    ("--workload produce --nemesis unclean --set unclean.leader.election.enable=true", "lost-write"),
    ("--workload produce --nemesis power --set min.insync.replicas=1", "lost-write"),
    ("--workload produce --nemesis partition --set enable.idempotence=false", "duplicate"),
    ("--workload produce --nemesis power --bug hw-advances-below-min-isr", "vanished-read"),
    ("--workload eos --nemesis kill --set eos.offsets=separate", "eos-duplicate"),
    ("--workload eos --nemesis none --set isolation.level=read_uncommitted", "aborted-read"),
    ("--workload eos --nemesis pause --bug zombie-producer-not-fenced", "torn-txn"),
    ("--system quorum --nodes 5 --workload register --nemesis clock --set conflict=lww", "nonlinearizable"),
)


def main() -> int:
    after: list[tuple[int, int]] = []
    for number, (words, anomaly) in enumerate(FAILURES, start=1):
        with tempfile.TemporaryDirectory() as scratch:
            for seed in range(10):
                given = [*words.split(), "--seed", str(seed), "--out", scratch, "--json"]
                done = subprocess.run([CHAOS, "test", *given], capture_output=True, text=True, check=False)
                [run] = json.loads(done.stdout)["runs"]
                if anomaly in {found["name"] for found in run["anomalies"]}:
                    break
            else:
                print(f"{number:2} {words}: {anomaly} in none of 10 seeds")
                continue
            shrunk = subprocess.run(
                [CHAOS, "shrink", run["dir"], "--anomaly", anomaly, "--out", f"{scratch}/small", "--json"],
                capture_output=True,
                text=True,
                check=False,
            )
            answer = json.loads(shrunk.stdout)
            test = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", answer["test"]],
                capture_output=True,
                check=False,
                cwd=scratch,
            )
            before, small = answer["before"], answer["after"]
            after.append((small["faults"], small["operations"]))
            print(
                f"{number:2} {anomaly} ({words})\n"
                f"   {before['faults']} faults, {before['operations']} operations -> {small['faults']} faults, "
                f"{small['operations']} operations, {small['clients']} clients, {small['time_ms'] / 1000:g} s; "
                f"{answer['runs']} runs in {answer['seconds']:g} s; pytest exit {test.returncode}",
                flush=True,
            )
    faults, operations = zip(*after, strict=True)
    print(f"median of {len(after)}: {median(faults):g} faults, {median(operations):g} operations")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
