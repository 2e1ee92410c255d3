"""Schedules that reach one mistake of the catalogue each, through the command line: named with the mistake, silent
without. Workload, client, network and checkers are those of every run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.catalogue import Entry, directed
from systems.broker.catalogue import CATALOGUE
from systems.broker.catalogue.directed_groups import SCHEDULES as OF_GROUPS
from systems.broker.catalogue.directed_replication import SCHEDULES as OF_REPLICATION
from systems.broker.catalogue.directed_transactions import SCHEDULES as OF_TRANSACTIONS

CHAOS = (sys.executable, "-c", "from harness.cli import main; main()")
"""In a process of its own with the hash seed that runs are pinned to: where partitions are placed must be as the schedules say."""

SEEDS = 6
EVERY = {
    "prepare-not-durable": {"torn-txn", "lost-write"},
    "marker-acked-before-replicated": {"torn-txn", "lost-write"},
}
"""Where one name alone would not prove that the schedule did what it is for."""
AT_ONCE = {
    "acks1-leader-only",
    "unclean-election",
    "retry-duplicate",
    "read-uncommitted",
    "offsets-outside-txn",
}
"""Two runs and more each: of the others `make check-long` has the core of the catalogue, a campaign all."""
SECOND = {*OF_REPLICATION, *OF_GROUPS, *OF_TRANSACTIONS}


def _marks(entry: Entry) -> tuple[pytest.MarkDecorator, ...]:
    if entry.name in AT_ONCE:
        return ()
    return (pytest.mark.campaign if entry.priority > 1 and entry.name in SECOND else pytest.mark.long,)


CASES = [
    pytest.param(entry, id=entry.name, marks=_marks(entry))
    for entry in CATALOGUE
    if entry.directed is not None
]


def named(entry: Entry, seed: int, folder: Path, *, wrong: bool) -> set[str]:
    spec = directed(entry, "broker", seed, wrong=wrong)
    assert spec is not None
    assert spec.schedule is not None
    schedule = folder / "schedule.json"
    schedule.write_bytes(msgspec.json.encode(spec.schedule))
    words = ["test", "--workload", spec.workload, "--schedule", str(schedule), "--json"]
    words += ["--nodes", str(spec.nodes), "--rate", str(spec.rate)]
    words += ["--concurrency", str(spec.concurrency)] if spec.concurrency else []
    words += [
        "--time-limit",
        str(spec.time_limit_ms / 1000),
        "--seed",
        str(seed),
        "--out",
        str(folder / "runs"),
    ]
    for key, value in spec.settings.items():
        words += ["--set", f"{key}={value}"]
    for bug in spec.bugs:
        words += ["--bug", bug]
    pinned = {**os.environ, "PYTHONHASHSEED": "0"}
    run = subprocess.run([*CHAOS, *words], env=pinned, capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stderr
    return {anomaly["name"] for anomaly in json.loads(run.stdout)["runs"][0]["anomalies"]}


@pytest.mark.parametrize("entry", CASES)
def test_the_mistake_is_named_and_its_absence_is_silent(entry: Entry, tmp_path: Path) -> None:
    """What is under way when the schedule strikes differs from seed to seed: a few are tried."""
    for seed in range(SEEDS):
        found = named(entry, seed, tmp_path, wrong=True)
        assert not named(entry, seed, tmp_path, wrong=False)
        if found.issuperset(EVERY.get(entry.name, ())) and found & set(entry.expect):
            return
    raise AssertionError(f"{entry.name} was not named {entry.expect} in {SEEDS} seeds")
