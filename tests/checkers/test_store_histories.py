"""The checkers of key-value stores: every anomaly has a history that shows it, every history a legal neighbour."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers.sets import SetFullChecker
from harness import registry
from harness.checker import CheckContext, Checker
from harness.history import History
from harness.ops import Op
from harness.results import Verdict

HISTORIES = Path(__file__).parent / "histories"
CHECKERS = (
    "linearizable",
    "sessions",
    "set",
    "set-full",
    "counter",
    "total-queue",
    "siblings",
    "lost-update",
    "rows",
    "deletes",
    "divergence",
    "unique-ids",
    "lock",
)
BY_CONFIGURATION = {("set-full", "stale-read"), ("divergence", "under-replication")}
"""Shown below."""


@pytest.mark.parametrize("name", CHECKERS)
def test_every_anomaly_has_a_history_that_shows_it_and_one_that_is_close(name: str) -> None:
    checker: Checker = registry.load("checkers", name)
    files = sorted((HISTORIES / name).glob("*.jsonl"))
    shown = {p.name.split("--")[0] for p in files if ".invalid" in p.name}
    assert shown | {anomaly for of, anomaly in BY_CONFIGURATION if of == name} == set(checker.anomalies)
    assert any(".valid" in p.name for p in files)
    assert any(".unknown" in p.name for p in files)


def history(*events: tuple[int, str, str, object]) -> History:
    return History(
        Op(index=n, time=n, process=process, type=type, f=f, key="x", value=value)  # type: ignore[arg-type]
        for n, (process, type, f, value) in enumerate(events)
    )


LATE = history(
    (0, "invoke", "add", 1),
    (0, "ok", "add", 1),
    (1, "invoke", "read", None),
    (1, "ok", "read", []),
    (1, "invoke", "final-read", None),
    (1, "ok", "final-read", [1]),
)


def test_an_element_that_comes_late_is_told_and_is_a_violation_where_the_set_claims_more() -> None:
    found = SetFullChecker().check(LATE, CheckContext())
    assert found.verdict is Verdict.VALID
    assert [(a.name, a.allowed) for a in found.anomalies] == [("stale-read", True)]
    strict = SetFullChecker().check(LATE, CheckContext(config={"set.linearizable": True}))
    assert strict.verdict is Verdict.INVALID
    assert found.measures["stale"] == strict.measures["stale"] == 1


def test_fewer_copies_than_there_should_be() -> None:
    found = history((9, "invoke", "replicas", None), (9, "ok", "replicas", {"n1": 1, "n2": 1}))
    checker: Checker = registry.load("checkers", "divergence")
    assert checker.check(found, CheckContext()).verdict is Verdict.VALID
    assert checker.check(found, CheckContext(config={"replication.factor": 2})).verdict is Verdict.VALID
    short = checker.check(found, CheckContext(config={"replication.factor": 3}))
    assert [a.name for a in short.anomalies] == ["under-replication"]


def test_a_linearizable_counter_may_not_answer_what_is_old() -> None:
    old = history(
        (0, "invoke", "add", 2),
        (0, "ok", "add", 2),
        (1, "invoke", "read", None),
        (1, "ok", "read", 0),
    )
    checker: Checker = registry.load("checkers", "counter")
    assert checker.check(old, CheckContext()).verdict is Verdict.UNKNOWN
    strict = checker.check(old, CheckContext(config={"counter.linearizable": True}))
    assert [a.name for a in strict.anomalies] == ["counter-under"]
