"""`chaos check` on histories of transactions, through the command line: JSON lines and EDN, verdicts by model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.group import chaos

SKEW = """\
{:type :invoke, :f :txn, :value [[:r 1 nil] [:append 2 1]], :time 1, :process 0, :index 0}
{:type :invoke, :f :txn, :value [[:r 2 nil] [:append 1 1]], :time 2, :process 1, :index 1}
{:type :info, :f :start, :process :nemesis, :time 3, :value [:cut #{"n1"}], :index 2}
{:type :ok, :f :txn, :value [[:r 1 nil] [:append 2 1]], :time 4, :process 0, :index 3}
{:type :ok, :f :txn, :value [[:r 2 []] [:append 1 1]], :time 5, :process 1, :index 4}
"""


def history(path: Path, *, skew: bool) -> Path:
    """Enough transactions for a verdict, one after the other, and perhaps a write skew before them."""
    lines = [SKEW] if skew else []
    for number in range(20):
        seen = " ".join(str(n) for n in range(number))
        for kind, list_read, at in (("invoke", "nil", 0), ("ok", f"[{seen}]", 1)):
            place = 10 + 2 * number + at
            lines.append(
                f"{{:type :{kind}, :f :txn, :value [[:r 9 {list_read}] [:append 9 {number}]], "
                f":time {place}, :process 0, :index {place}}}\n"
            )
    path.write_text("".join(lines))
    return path


def check(*words: str | Path) -> Result:
    return CliRunner().invoke(chaos, ["check", *(str(w) for w in words)])


def as_json_lines(edn: Path) -> Path:
    from harness.edn import read_history
    from harness.history import to_json

    path = edn.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(to_json(op)) + "\n" for op in read_history(edn)))
    return path


@pytest.mark.parametrize("form", ["edn", "json lines"])
def test_the_model_names_the_checker_and_the_anomaly_the_verdict(tmp_path: Path, form: str) -> None:
    path = history(tmp_path / "history.edn", skew=True)
    path = path if form == "edn" else as_json_lines(path)
    strict = check(path, "--model", "list-append")
    assert strict.exit_code == 1
    assert "G2-item" in strict.output
    assert (
        "T3 read key 1 = [], all that was ever read of it; T4 appended 1, so T3 is before T4" in strict.output
    )
    assert "ruled out: repeatable-read and all that is stronger" in strict.output
    assert "still standing: strong-snapshot-isolation" in strict.output
    assert "reproduce" not in strict.output
    snapshot = check(path, "--model", "list-append", "--consistency-model", "snapshot-isolation")
    assert snapshot.exit_code == 0, snapshot.output
    assert "still standing: strong-snapshot-isolation" in snapshot.output
    assert check(path, "--checker", "elle", "--expect", "G2-item").exit_code == 0


def test_a_clean_history_is_valid(tmp_path: Path) -> None:
    result = check(history(tmp_path / "history.edn", skew=False), "--model", "list-append")
    assert result.exit_code == 0, result.output
    assert "nothing rules out strict-serializable (G2 over predicates cannot be seen" in result.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--model", "list-apend"), "did you mean 'list-append'?"),
        (("--model", "rw-register"), "unknown micro-operation 'append' for --model rw-register"),
        (("--model", "list-append", "--consistency-model", "serialisable"), "did you mean 'serializable'?"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    from harness.errors import UserError

    result = check(history(tmp_path / "history.edn", skew=False), *words)
    assert isinstance(result.exception, UserError) or result.exit_code == 2
    assert complaint in f"{result.output}{result.exception}"
    assert "\n" not in str(result.exception)
