"""Model `kafka`: every anomaly has a history that shows it, beside its closest legal neighbours.

A file is `histories/kafka/ANOMALY--WHAT-IT-SHOWS.VERDICT.jsonl`; `allowed` is what Kafka does not promise: shown, and
no violation.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from checkers.transactions import ElleChecker
from checkers.transactions.kafka import ANOMALIES_OF_LOGS
from harness.checker import CheckContext
from harness.cli import group
from harness.history import read_history
from harness.results import Result

FOLDER = Path(__file__).parent / "histories" / "kafka"
FILES = sorted(FOLDER.glob("*.jsonl"))
CONTEXT = CheckContext(options={"model": "kafka"}, workload="txn")


def judged(path: Path) -> Result:
    checker = ElleChecker()
    return checker.check(checker.read(path, CONTEXT), CONTEXT)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_history_is_judged_as_its_name_says(path: Path) -> None:
    anomaly, verdict = path.name.split("--")[0], path.name.split(".")[-2]
    result = judged(path)
    shown = {(a.name, a.allowed) for a in result.anomalies}
    if verdict == "allowed":
        assert result.verdict == "valid"
        assert shown == {(anomaly, True)}
        return
    assert result.verdict == verdict, (result.reason, [a.summary for a in result.anomalies])
    assert shown == ({(anomaly, False)} if verdict == "invalid" else set())
    if verdict == "unknown":
        assert any(character.isdigit() for character in result.reason or "")


def test_every_anomaly_has_a_history_that_shows_it() -> None:
    cycles = {"G0", "G1c", "G1c-process", "G1c-realtime"}
    shown = {p.name.split("--")[0] for p in FILES if ".invalid" in p.name or ".allowed" in p.name}
    assert shown == cycles | set(ANOMALIES_OF_LOGS)


@pytest.mark.parametrize("path", [p for p in FILES if ".invalid" in p.name], ids=lambda p: p.stem)
def test_a_witness_can_be_followed(path: Path) -> None:
    history = read_history(path)
    for anomaly in judged(path).anomalies:
        assert anomaly.ops
        assert set(anomaly.ops) <= {op.index for op in history}
        assert [m.time for m in anomaly.story] == sorted(m.time for m in anomaly.story)
        for edge in anomaly.data.get("cycle", []):
            assert edge["from"] in edge["why"]
            assert edge["to"] in edge["why"]


def test_jepsens_own_notation_is_read(tmp_path: Path) -> None:
    """Operations `send` and `poll` beside `txn`, whole keys, and offsets that are not known."""
    path = tmp_path / "history.edn"
    path.write_text(
        "{:index 0 :time 1 :process 0 :type :invoke :f :send :value [[:send 3 10]]}\n"
        "{:index 1 :time 2 :process 0 :type :fail :f :send :value [[:send 3 10]] :error :aborted}\n"
        "{:index 2 :time 3 :process 1 :type :invoke :f :txn :value [[:poll] [:send 3 11]]}\n"
        "{:index 3 :time 4 :process 1 :type :ok :f :txn :value [[:poll {3 [[0 10]]}] [:send 3 [2 11]]]}\n"
        "{:index 4 :time 5 :process 2 :type :invoke :f :poll :value [[:poll]]}\n"
        "{:index 5 :time 6 :process 2 :type :ok :f :poll :value [[:poll {3 [[0 10] [2 11]]}]]}\n"
    )
    arguments = ["check", str(path), "--checker", "elle", "--model", "kafka", "--json"]
    done = CliRunner().invoke(group.chaos, arguments, standalone_mode=False)
    [run] = json.loads(done.output)["runs"]
    assert run["verdict"] == "invalid"
    assert [a["name"] for a in run["anomalies"]] == ["aborted-read"]


def test_what_is_no_operation_of_a_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"index":4,"time":1,"process":0,"type":"invoke","f":"txn","value":[["append","x",1]]}\n')
    done = CliRunner().invoke(group.chaos, ["check", str(path), "--model", "kafka"], standalone_mode=True)
    assert done.exit_code == 2
    assert "operation with index 4 (txn) is no operation of --model kafka" in done.output
    assert "'append' (known: send, poll)" in done.output
