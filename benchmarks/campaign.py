"""Campaigns: is the safe configuration silent, and is every unsafe one loud?

    python benchmarks/campaign.py safe   --seeds 200     workloads x nemeses, no anomaly expected
    python benchmarks/campaign.py unsafe --seeds 50      each unsafe setting, named by the right anomaly
    python benchmarks/campaign.py safe --only eos/kill   one row

Every row is `chaos test … --json` with seeds from 0 on; what is printed is the sample really run.
Exit code 1 when a safe row reported an anomaly or an unsafe row was named in fewer seeds than asked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of a campaign. `expect`: any one of these names counts (`every`: only all of them together);
    `share` of the seeds must show it."""

    workload: str
    nemesis: str
    settings: dict[str, str] = field(default_factory=dict)
    expect: tuple[str, ...] = ()
    every: bool = False
    share: float = 0.5
    title: str = ""

    @property
    def name(self) -> str:
        return self.title or f"{self.workload}/{self.nemesis}"


NEMESES = ("none", "partition", "kill", "pause", "power", "clock", "unclean", "slow")
SAFE = tuple(Row(w, n) for w in ("eos", "produce") for n in NEMESES)

UNSAFE = (
    Row("produce", "partition", {"acks": "1"}, ("lost-write",), title="acks=1/partition"),
    Row("produce", "kill", {"acks": "1"}, ("lost-write",), title="acks=1/kill"),
    Row(
        "produce",
        "kill",
        {"acks": "0", "enable.idempotence": "false"},
        ("lost-write",),
        title="acks=0/kill",
    ),
    Row(
        "produce",
        "unclean",
        {"unclean.leader.election.enable": "true"},
        ("lost-write", "inconsistent-offsets"),
        every=True,
        title="unclean",
    ),
    Row("produce", "power", {"min.insync.replicas": "1"}, ("lost-write",), title="min-isr-1/power"),
    Row(
        "produce",
        "partition",
        {"enable.idempotence": "false"},
        ("duplicate",),
        title="no-idempotence/partition",
    ),
    Row(
        "eos",
        "none",
        {"isolation.level": "read_uncommitted"},
        ("aborted-read",),
        title="read-uncommitted/none",
    ),
    Row(
        "eos",
        "kill",
        {"eos.offsets": "separate"},
        ("eos-duplicate", "eos-loss"),
        title="offsets-outside-txn/kill",
    ),
    Row("eos", "none", {"eos.rewind": "false"}, ("eos-loss",), title="no-rewind/none"),
    Row(
        "eos",
        "partition",
        # Slower links: the window in which a late EndTxn meets the next transaction is a few milliseconds wide.
        {"transaction.version": "1", "sim.latency.min.ms": "4", "sim.latency.max.ms": "16"},
        ("aborted-read", "lost-write", "torn-txn", "eos-loss", "eos-duplicate"),
        share=0.005,
        title="transaction-version-1/partition",
    ),
)


def run_row(row: Row, seeds: int, first: int, out: Path) -> dict[str, Any]:
    """Runs one row; the object is the `--json` answer of `chaos test`."""
    command = [str(Path(sys.executable).with_name("chaos")), "test", "--json", "--out", str(out)]
    command += ["--workload", row.workload, "--nemesis", row.nemesis]
    command += ["--seed", str(first), "--runs", str(seeds)]
    for key, value in row.settings.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{' '.join(command)}\nexit {done.returncode}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("campaign", choices=("safe", "unsafe"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--keep", type=Path, help="keep the run folders here")
    options = parser.parse_args()
    rows = [
        r
        for r in (SAFE if options.campaign == "safe" else UNSAFE)
        if not options.only or r.name in options.only
    ]
    failed = False
    situations: Counter[str] = Counter()
    for row in rows:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            answer = run_row(row, options.seeds, options.first, options.keep or Path(scratch))
        runs = answer["runs"]
        verdicts = Counter(run["verdict"] for run in runs)
        anomalies: Counter[str] = Counter()
        hits = 0
        for run in runs:
            names = {a["name"] for a in run["anomalies"]}
            anomalies.update(names)
            found = names & set(row.expect)
            hits += found == set(row.expect) if row.every else bool(found)
            situations.update({k: 1 for k, v in run["situations"].items() if v})
        if options.campaign == "safe":
            bad = verdicts["invalid"] > 0 or verdicts["unknown"] > 0.02 * len(runs)
        else:
            bad = hits < row.share * len(runs)
        failed |= bad
        wall = time.monotonic() - started
        note = (
            dict(verdicts)
            if options.campaign == "safe"
            else f"{hits}/{len(runs)} named {(' and ' if row.every else '/').join(row.expect)}"
        )
        print(
            f"{'FAIL' if bad else 'ok  '} {row.name:34} {len(runs)} seeds  {note}  {dict(anomalies)}  {wall:.0f} s"
        )
        for run in runs:
            if (options.campaign == "safe" and run["verdict"] != "valid") or run["verdict"] == "unknown":
                first_anomaly = run["anomalies"][0]["summary"] if run["anomalies"] else run["reason"]
                print(f"       seed {run['seed']}: {run['verdict']}: {first_anomaly}"[:400])
        sys.stdout.flush()
    print(f"situations (runs that reached them): {dict(sorted(situations.items()))}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
