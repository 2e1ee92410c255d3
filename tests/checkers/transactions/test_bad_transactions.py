"""What a user may hand over by mistake: one clear line with the place, and nothing guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from checkers.transactions import ElleChecker
from harness.checker import CheckContext
from harness.cli.group import chaos
from harness.errors import UserError
from harness.history import read_history
from harness.results import Verdict


def written(path: Path, *events: tuple[int, str, Any]) -> Path:
    path.write_text(
        "".join(
            json.dumps({"index": i, "time": i, "process": p, "type": t, "f": "txn", "value": v}) + "\n"
            for i, (p, t, v) in enumerate(events)
        )
    )
    return path


def told(path: Path, **options: Any) -> str:
    """The same mistake is told whichever way the history is read."""
    context = CheckContext(options=options)
    checker = ElleChecker()
    with pytest.raises(UserError) as slow:
        checker.check(read_history(path), context)
    with pytest.raises(UserError) as fast:
        checker.check(checker.read(path, context), context)
    assert str(slow.value).split(": ", 1)[1] in str(fast.value) or str(slow.value) == str(fast.value)
    return str(fast.value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (
            [["prepend", 1, 2]],
            "line 2: unknown micro-operation 'prepend' for --model list-append (known: append, r)",
        ),
        ([["w", 1, 2]], "is this a history of --model rw-register?"),
        ([["r", 1, 7]], "line 2: a read of list-append returns a list, got 7 for key 1"),
        ([["r", 1]], "line 2: a micro-operation is [f, key, value], got ['r', 1]"),
        ([7], "line 2: a micro-operation is [f, key, value], got 7"),
        ({"r": 1}, "line 2: the value of a transaction is a list of micro-operations"),
        ([["append", 1, None]], "line 2: 'append' of null to key 1"),
    ],
)
def test_a_transaction_that_the_model_does_not_know(tmp_path: Path, value: Any, complaint: str) -> None:
    path = written(tmp_path / "history.jsonl", (0, "invoke", [["r", 1, None]]), (0, "ok", value))
    assert complaint in told(path)


@pytest.mark.parametrize(
    ("model", "f", "verb"), [("list-append", "append", "appends"), ("rw-register", "w", "writes")]
)
def test_the_same_write_twice(tmp_path: Path, model: str, f: str, verb: str) -> None:
    """Nothing is said of that key, and everything of the others."""
    twice = [[f, "x", 1], [f, "y", 1]]
    once = [[f, "x", 1]]
    read = [["r", "y", [1] if f == "append" else 1]]
    unread: list[Any] = [["r", "y", [] if f == "append" else None]]
    events = [(0, "invoke", twice), (0, "ok", twice), (1, "invoke", once), (1, "fail", once)]
    rest = [
        (2, "invoke", [["r", "y", None]]),
        (2, "ok", read),
        (2, "invoke", [["r", "y", None]]),
        (2, "ok", unread),
    ]
    path = written(tmp_path / "history.jsonl", *events, *rest[:2])
    context = CheckContext(options={"model": model})
    for history in (read_history(path), ElleChecker().read(path, context)):
        result = ElleChecker().check(history, context)
        assert result.verdict is Verdict.UNKNOWN
        assert result.reason is not None
        assert f"T3 {verb} 1 to x although T1 did so already" in result.reason
        assert "x is left out" in result.reason
        assert result.measures["left_out"] == [result.reason]
    assert f"{path}: line 4: T3 {verb}" in str(result.reason)
    path = written(tmp_path / "history.jsonl", *events, *rest)
    assert ElleChecker().check(ElleChecker().read(path, context), context).verdict is Verdict.INVALID


def test_the_same_write_twice_in_one_transaction(tmp_path: Path) -> None:
    twice = [["append", "x", "a"], ["append", "x", "a"]]
    path = written(tmp_path / "history.jsonl", (0, "invoke", twice), (0, "ok", twice))
    result = ElleChecker().check(read_history(path), CheckContext())
    assert "operation with index 1: T1 appends 'a' to x twice" in str(result.reason)


def test_bad_lines_on_the_command_line(tmp_path: Path) -> None:
    """One line of what is wrong, with its place, and exit code 2; the rest is judged and shown."""
    twice = [["append", "x", 1], ["append", "y", 1]]
    path = written(
        tmp_path / "history.jsonl",
        *((0, "invoke", twice), (0, "ok", twice), (1, "invoke", [["append", "x", 1]])),
        *(
            (1, "ok", [["append", "x", 1]]),
            (2, "invoke", [["r", "y", None]]),
            (2, "ok", [["r", "y", [1, 1]]]),
        ),
    )
    words = ["check", str(path), "--model", "list-append"]
    done = CliRunner().invoke(chaos, words, catch_exceptions=False)
    assert done.exit_code == 2
    assert "duplicate-elements" in done.output
    [line] = [line for line in done.output.splitlines() if line.startswith("chaos: ")]
    assert "history.jsonl: line 4: T3 appends 1 to x although T1 did so already" in line
    done = CliRunner().invoke(chaos, [*words, "--consistency-model", "serialisable"], catch_exceptions=False)
    assert done.exit_code == 2
    assert "did you mean 'serializable'?" in done.output


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"model": "list-apend"}, "did you mean 'list-append'?"),
        ({"consistency-model": "snapshot-insolation"}, "did you mean 'snapshot-isolation'?"),
    ],
)
def test_an_unknown_model(tmp_path: Path, options: dict[str, str], nearest: str) -> None:
    path = written(tmp_path / "history.jsonl", (0, "invoke", [["r", 1, None]]), (0, "ok", [["r", 1, []]]))
    assert nearest in told(path, **options)


def test_no_transaction_at_all(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"index":0,"time":0,"process":0,"type":"invoke","f":"read"}\n')
    assert "no operation has 'f' \"txn\"" in told(path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"index":1,"time":1,"process":0,"type":"ok","f":"txn","value":', "line 2"),
        ('{"index":1,"time":1,"process":9,"type":"ok","f":"txn"}', "line 2"),
        ('{"index":0,"time":1,"process":0,"type":"ok","f":"txn"}', "line 2"),
        ('{"index":1,"time":1,"process":0,"type":"yes","f":"txn"}', "line 2"),
        ('{"index":1,"time":1,"process":0,"type":"invoke","f":"txn"}', "line 2"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = written(tmp_path / "history.jsonl", (0, "invoke", [["r", 1, None]]))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=complaint):
        ElleChecker().read(path, CheckContext())


def test_what_is_torn_off_is_left_out_and_said(tmp_path: Path) -> None:
    path = written(
        tmp_path / "history.jsonl", (0, "invoke", [["append", 1, 5]]), (0, "ok", [["append", 1, 5]])
    )
    path.write_text(path.read_text() + '{"index":2,"ti')
    history = ElleChecker().read(path, CheckContext())
    assert history.warnings == ("line 3 is torn (14 bytes) and was left out",)
    assert history.tally == {("txn", "ok"): 1}


def test_values_of_other_kinds_are_told_apart(tmp_path: Path) -> None:
    """Strings, lists, big and fractional numbers; what is read again must be what was written."""
    values = ["1", 1, 2**61, 2**70, -(2**63), 1.5, [1, "a"], {"b": 2}]
    appends = [["append", "x", v] for v in values]
    reads = [["r", "x", values]]
    path = written(
        tmp_path / "history.jsonl",
        (0, "invoke", appends),
        (0, "ok", appends),
        (1, "invoke", [["r", "x", None]]),
        (1, "ok", reads),
        (1, "invoke", [["r", "x", None]]),
        (1, "ok", [["r", "x", [*values, "2"]]]),
    )
    result = ElleChecker().check(ElleChecker().read(path, CheckContext()), CheckContext())
    assert [(a.name, a.affected) for a in result.anomalies] == [("garbage-read", 1)]
    assert "'2' in it, which nobody appended" in result.anomalies[0].summary


def test_transactions_without_micro_operations_say_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "history.jsonl", (0, "invoke", []), (0, "ok", []))
    result = ElleChecker().check(read_history(path), CheckContext())
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason == "0 of 1 transactions committed a read"


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ("read-committed", "valid"),
        ("snapshot isolation", "valid"),
        ("repeatable-read", "invalid"),
        (None, "invalid"),
    ],
)
def test_the_verdict_is_for_the_model_that_was_asked_for(
    tmp_path: Path, asked: str | None, verdict: str
) -> None:
    path = Path(__file__).parent / "histories" / "list-append" / "G2-item--write-skew.invalid.jsonl"
    options = {} if asked is None else {"consistency-model": asked}
    result = ElleChecker().check(read_history(path), CheckContext(options=options))
    assert result.verdict == verdict
    assert [a.allowed for a in result.anomalies] == [verdict == "valid"]
    by_setting = CheckContext(config={"isolation": "repeatable-read"})
    assert ElleChecker().check(read_history(path), by_setting).verdict is Verdict.VALID
