"""Every anomaly has a history that shows it and, beside it, its closest legal neighbours.

A file is `histories/CHECKER/ANOMALY--WHAT-IT-SHOWS.VERDICT.jsonl`. An invalid one shows exactly its anomaly.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import registry
from harness.checker import CheckContext, Checker
from harness.history import read_history

HISTORIES = Path(__file__).parent / "histories"
FILES = sorted(HISTORIES.glob("*/*.jsonl"))
ALLOWED = {"unseen"}
"""Shown without being a violation."""


@pytest.mark.parametrize("path", FILES, ids=[f"{p.parent.name}/{p.stem}" for p in FILES])
def test_history_is_judged_as_its_name_says(path: Path) -> None:
    checker: Checker = registry.load("checkers", path.parent.name)
    anomaly = path.name.split("--")[0]
    verdict = path.name.split(".")[-2]
    result = checker.check(read_history(path), CheckContext())
    assert result.verdict == verdict, (result.reason, [a.summary for a in result.anomalies])
    expected = {anomaly} if verdict == "invalid" or anomaly in ALLOWED else set()
    assert {a.name for a in result.anomalies} == expected
    if verdict == "unknown":
        assert result.reason
        assert any(character.isdigit() for character in result.reason)


@pytest.mark.parametrize("name", ["log", "exactly-once"])
def test_every_anomaly_has_a_history_that_shows_it(name: str) -> None:
    checker: Checker = registry.load("checkers", name)
    shown = {p.name.split("--")[0] for p in FILES if p.parent.name == name and ".valid" not in p.name}
    assert shown == set(checker.anomalies)


@pytest.mark.parametrize("path", [p for p in FILES if ".invalid" in p.name], ids=lambda p: p.stem)
def test_a_witness_can_be_followed(path: Path) -> None:
    """Its operations exist, the sentence names the partition or transaction, the story is in order of time."""
    history = read_history(path)
    checker: Checker = registry.load("checkers", path.parent.name)
    for anomaly in checker.check(history, CheckContext()).anomalies:
        assert anomaly.ops
        assert set(anomaly.ops) <= {op.index for op in history}
        assert anomaly.where is not None
        assert anomaly.summary[0].isalnum()
        assert [m.time for m in anomaly.story] == sorted(m.time for m in anomaly.story)
        events = {
            o.invoke.index: {o.invoke.index, o.completion.index} for o in history.operations if o.completion
        }
        first = next(both for both in events.values() if anomaly.ops[0] in both)
        assert {m.op for m in anomaly.story} & first, "the first operation of the proof is told"
        assert len(anomaly.story) <= 15
