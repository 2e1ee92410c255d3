"""The checker `bank`: what it takes for the total, what a level allows, and what is no history of a bank.
(`test_recorded_histories.py` judges the files.)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checkers.bank import BankChecker
from harness.checker import CheckContext
from harness.errors import UserError
from harness.history import read_history
from harness.results import Verdict

HISTORIES = Path(__file__).parent / "histories" / "bank"
HALF = HISTORIES / "wrong-total--half-of-a-transfer-is-seen.invalid.jsonl"
OVERDRAWN = HISTORIES / "negative-balance--overdrawn.invalid.jsonl"


def test_every_anomaly_has_a_history_that_shows_it_and_one_that_is_close() -> None:
    files = sorted(HISTORIES.glob("*.jsonl"))
    shown = {p.name.split("--")[0] for p in files if ".invalid" in p.name}
    assert shown == set(BankChecker.anomalies)
    assert {p.name.split("--")[0] for p in files if ".valid" in p.name} == set(BankChecker.anomalies)


def test_who_saw_what_and_how_much_there_is() -> None:
    [anomaly] = BankChecker().check(read_history(HALF), CheckContext()).anomalies
    assert "process 1 saw 17 in all accounts, but there is 20: a0 has 7, a1 has 10" in anomaly.summary


def test_the_configuration_says_how_much_there_is() -> None:
    """Also where the first reader was already wrong."""
    config = {"bank.accounts": 2, "bank.balance": 9}
    result = BankChecker().check(read_history(HALF), CheckContext(config=config))
    assert [a.affected for a in result.anomalies if a.name == "wrong-total"] == [2]


@pytest.mark.parametrize(
    ("isolation", "verdict"),
    [("read-committed", Verdict.VALID), ("repeatable-read", Verdict.INVALID), ("", Verdict.INVALID)],
)
def test_a_level_that_allows_read_skew_allows_a_wrong_total(isolation: str, verdict: Verdict) -> None:
    result = BankChecker().check(read_history(HALF), CheckContext(config={"isolation": isolation}))
    assert result.verdict is verdict
    assert [a.allowed for a in result.anomalies] == [verdict is Verdict.VALID]


def test_overdrafts_may_be_allowed() -> None:
    config = {"bank.negative": True}
    assert BankChecker().check(read_history(OVERDRAWN), CheckContext(config=config)).verdict is Verdict.VALID


@pytest.mark.parametrize("value", [[1, 2], {"a0": "10"}, 7, {"a0": 1.5}])
def test_a_read_that_is_no_balance(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "history.jsonl"
    events = [
        {"index": 0, "time": 0, "process": 0, "type": "invoke", "f": "read"},
        {"index": 1, "time": 1, "process": 0, "type": "ok", "f": "read", "value": value},
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    with pytest.raises(UserError, match="operation with index 1: a read of a bank is"):
        BankChecker().check(read_history(path), CheckContext())
