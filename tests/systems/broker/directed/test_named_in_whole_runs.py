"""Schedules that reach one mistake of the catalogue each, through the command line: named with the mistake, silent
without. Workload, client, network and checkers are those of every run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from harness.cli.group import chaos

Fault = dict[str, Any]


def cut(selector: str, at_ms: int, duration_ms: int, **params: Any) -> Fault:
    return {
        "at_ms": at_ms,
        "kind": "partition",
        "selector": selector,
        "duration_ms": duration_ms,
        "params": {"how": "drop", **params},
    }


def kill(selector: str, at_ms: int, duration_ms: int, step: str | None = None) -> Fault:
    fault: Fault = {"at_ms": at_ms, "selector": selector, "duration_ms": duration_ms}
    if step is None:
        return fault | {"kind": "kill"}
    return fault | {"kind": "crash-at", "params": {"step": step}}


UNDISTURBED = {"eos.stall.probability": 0, "eos.crash.probability": 0}
"""The schedule does the breaking."""
BY_THE_GROUP = UNDISTURBED | {"eos.assignment": "subscribe", "session.timeout.ms": 3000}
LONGER_THAN_THE_SESSION = [
    cut(f"client-{number}", 5_000 + 9_000 * turn, 6_500) for turn, number in enumerate((2, 3, 4))
]
"""Pipelines that find themselves replaced when they can speak again."""


class Case(NamedTuple):
    bug: str
    expected: set[str]
    workload: str
    faults: list[Fault]
    settings: Mapping[str, Any] = MappingProxyType({})
    time_limit_s: int = 20
    rate: int = 40


CASES = [
    Case("aborted-index-wrong", {"aborted-read"}, "eos", []),
    # S10: appended and replicated, the answer lost, the leader killed; the retry meets its successor.
    Case(
        "dedupe-state-not-replicated",
        {"duplicate"},
        "produce",
        [cut("clients", 5_000, 4_500, direction="in"), kill("leader(orders/0)", 6_000, 6_000)],
    ),
    # The decision is durable, its answer lost; the producer asks again.
    Case(
        "commit-retry-not-idempotent",
        {"aborted-read"},
        "eos",
        [cut("clients", 5_000, 4_500, direction="in", step="coordinator.prepare_commit.written")],
    ),
    # A follower of the transaction log misses the decision, the coordinator dies with its markers half sent, and
    # the follower takes over.
    Case(
        "prepare-not-durable",
        {"torn-txn", "lost-write"},
        "eos",
        [
            cut(
                "one-of(followers(__transaction_state/0))",
                5_000,
                9_000,
                shape="peers",
                step="group.transactional_offsets.pending",
            ),
            kill("coordinator(eos-0)", 5_000, 12_000, step="coordinator.marker.sent"),
        ],
        UNDISTURBED | {"eos.pipelines": 1, "eos.abort.probability": 0},
        time_limit_s=22,
        rate=400,
    ),
    Case(
        "txn-offset-commit-not-group-fenced",
        {"eos-duplicate"},
        "eos",
        LONGER_THAN_THE_SESSION,
        BY_THE_GROUP,
        time_limit_s=32,
    ),
]


def named(case: Case, bug: str | None, folder: Path) -> set[str]:
    schedule = folder / "schedule.json"
    schedule.write_text(json.dumps({"faults": case.faults}))
    words = ["test", "--workload", case.workload, "--schedule", str(schedule), "--json"]
    words += ["--time-limit", str(case.time_limit_s), "--rate", str(case.rate), "--out", str(folder / "runs")]
    for key, value in case.settings.items():
        words += ["--set", f"{key}={value}"]
    if bug is not None:
        words += ["--bug", bug]
    run = CliRunner().invoke(chaos, words)
    assert run.exit_code in (0, 1), run.output
    return {anomaly["name"] for anomaly in json.loads(run.stdout)["runs"][0]["anomalies"]}


@pytest.mark.parametrize("case", CASES, ids=[case.bug for case in CASES])
def test_the_mistake_is_named_and_its_absence_is_silent(case: Case, tmp_path: Path) -> None:
    assert named(case, case.bug, tmp_path) >= case.expected
    assert not named(case, None, tmp_path) & case.expected
