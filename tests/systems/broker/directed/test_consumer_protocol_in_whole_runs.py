"""Groups of the new protocol (KIP-848) in whole runs, through the command line: the mistakes that have a meaning there are
named as with classic groups, and without them nothing is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.schedule import Fault, Schedule

CHAOS = (sys.executable, "-c", "from harness.cli import main; main()")
MOVING: dict[str, Any] = {"group.partitions": 12}
"""More partitions than members: who comes takes some from who is there."""
IMPATIENT: dict[str, Any] = {
    "group.consumer.session.timeout.ms": 3_000,
    "max.poll.interval.ms": 4_000,
    "group.stall.probability": 0.08,
    "group.crash.probability": 0,
    "group.leave.probability": 0,
}
SILENT = Schedule(
    tuple(
        Fault(
            at_ms=at_ms,
            kind="partition",
            selector=f"client-{number}",
            duration_ms=5_000,
            params={"direction": "out", "how": "hold"},
        )
        for number, at_ms in ((2, 6_000), (3, 14_000))
    )
)
"""Two members are cut off for longer than their sessions, and what they had said arrives late."""


def found(
    folder: Path, *words: str, bug: str | None = None, schedule: Schedule | None = None, **settings: Any
) -> tuple[str, set[str]]:
    """The verdict, and the anomalies."""
    given = [
        *CHAOS,
        "test",
        "--json",
        "--out",
        str(folder / "runs"),
        "--set",
        "group.protocol=consumer",
        *words,
    ]
    if schedule is None:
        given += ["--nemesis", "none"]
    else:
        (folder / "schedule.json").write_bytes(msgspec.json.encode(schedule))
        given += ["--schedule", str(folder / "schedule.json")]
    for key, value in settings.items():
        given += ["--set", f"{key}={value}"]
    given += [] if bug is None else ["--bug", bug]
    pinned = {**os.environ, "PYTHONHASHSEED": "0"}
    run = subprocess.run(given, env=pinned, capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stderr
    (told,) = json.loads(run.stdout)["runs"]
    return told["verdict"], {anomaly["name"] for anomaly in told["anomalies"]}


STORM = ("--workload", "rebalance-storm", "--time-limit", "8")
STALLS = ("--workload", "group", "--rate", "80", "--time-limit", "14")


def test_a_partition_given_before_it_was_given_up_is_named(tmp_path: Path) -> None:
    verdict, names = found(tmp_path, *STORM, bug="assign-before-revoke-ack", **MOVING)
    assert verdict == "invalid"
    assert names & {"dual-ownership", "offset-regression"}


@pytest.mark.long
def test_a_storm_of_rebalances_is_silent(tmp_path: Path) -> None:
    assert found(tmp_path, *STORM, **MOVING) == ("valid", set())


@pytest.mark.long
def test_a_commit_under_an_old_epoch_that_is_taken_is_named(tmp_path: Path) -> None:
    verdict, names = found(tmp_path, *STALLS, bug="generation-not-fenced", schedule=SILENT, **IMPATIENT)
    assert verdict == "invalid"
    assert names & {"dual-ownership", "offset-regression", "consume-lost"}


@pytest.mark.long
def test_members_that_are_silent_for_too_long_are_fenced(tmp_path: Path) -> None:
    verdict, names = found(tmp_path, *STALLS, schedule=SILENT, **IMPATIENT)
    assert (verdict, names - {"consume-duplicate"}) == ("valid", set())


@pytest.mark.long
@pytest.mark.parametrize("static", [False, True])
def test_what_is_processed_in_transactions_is_processed_once(tmp_path: Path, static: bool) -> None:
    settings = {"group.policy": "eos", "group.static": static, **MOVING}
    assert found(tmp_path, "--workload", "group", "--time-limit", "10", **settings) == ("valid", set())


@pytest.mark.long
def test_a_seed_gives_the_same_run_again(tmp_path: Path) -> None:
    words = ["test", "--workload", "group", "--time-limit", "5", "--set", "group.protocol=consumer"]
    given = [*CHAOS, *words, "--verify-determinism", "--out", str(tmp_path)]
    run = subprocess.run(given, capture_output=True, text=True, check=False)
    assert (run.returncode, "deterministic" in run.stdout) == (0, True), run.stdout + run.stderr
