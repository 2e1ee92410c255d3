"""Jepsen's histories are read as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import edn
from harness.errors import UserError
from harness.store import read_run_history

OPERATIONS = """\
{:type :invoke, :f :txn, :value [[:append 5 1] [:r 6 nil]], :time 10, :process 0, :index 0}
{:type :info, :f :start-partition, :process :nemesis, :time 11, :index 1, :value [:isolated {"n1" #{"n2" "n3"}}]}
{:type :ok, :f :txn, :value [[:append 5 1] [:r 6 [1 2]]], :time 12, :process 0, :index 2}
{:type :invoke, :f :txn, :value [[:r 6 nil]], :time 13, :process 1, :index 3}
{:type :info, :f :txn, :value [[:r 6 nil]], :time 14, :process 1, :error [:timeout "no \\"answer\\""], :index 4}
"""


def test_operation_maps_a_line(tmp_path: Path) -> None:
    path = tmp_path / "history.edn"
    path.write_text(OPERATIONS)
    history = read_run_history(path)
    assert [(op.index, op.time, op.process, op.type, op.f) for op in history] == [
        (0, 10, 0, "invoke", "txn"),
        (1, 11, "nemesis", "info", "start-partition"),
        (2, 12, 0, "ok", "txn"),
        (3, 13, 1, "invoke", "txn"),
        (4, 14, 1, "info", "txn"),
    ]
    assert history.ops[2].value == [["append", 5, 1], ["r", 6, [1, 2]]]
    assert history.ops[0].value[1][2] is None
    assert history.ops[1].value == ["isolated", {"n1": ["n2", "n3"]}]
    assert history.ops[4].error == ["timeout", 'no "answer"']
    assert [op.outcome for op in history.operations] == ["ok", "info"]


@pytest.mark.parametrize(
    "text",
    [
        "[" + OPERATIONS + "]",
        OPERATIONS.replace("{:type", "#jepsen.history.Op{:type"),
        OPERATIONS.replace(", ", "\n  "),
        "; a comment\n" + OPERATIONS.replace(", ", ",   "),
    ],
    ids=["a vector", "records", "many lines an operation", "comments and gaps"],
)
def test_other_ways_to_write_the_same(tmp_path: Path, text: str) -> None:
    plain, other = tmp_path / "plain.edn", tmp_path / "other.edn"
    plain.write_text(OPERATIONS)
    other.write_text(text)
    assert edn.read_history(other).ops == edn.read_history(plain).ops


def test_what_old_histories_leave_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text(
        "{:process 3 :type :invoke :f :read :value nil}\n{:process 3 :type :ok :f :read :value 4}\n"
    )
    assert edn.is_edn(path)
    assert [(op.index, op.time, op.value) for op in read_run_history(path)] == [(0, 0, None), (1, 0, 4)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1 -2 +3 4N 1.5 2M 1e3]", [1, -2, 3, 4, 1.5, 2, 1000.0]),
        ('"a\\n\\"b\\" \\u00e9"', 'a\n"b" é'),
        ("(a :b/c \\x \\newline true false nil)", ["a", "b/c", "x", "\n", True, False, None]),
        ("{:a {:b 1}, 2 3}", {"a": {"b": 1}, "2": 3}),
        ('[#inst "2020" #_ignored #_ #x 1 2 #{3}]', ["2020", 2, [3]]),
        ("[:nil nil-like :r.s]", ["nil", "nil-like", "r.s"]),
    ],
)
def test_forms(text: str, value: Any) -> None:
    assert edn.parse(text) == [value]


@pytest.mark.parametrize(
    "line",
    [
        "{:type :ok, :f :txn, :value [[:append 5 1] [:r 6 [1 2]] [:r nil nil]], :process 0}",
        "{:type :ok :f :txn :value ([:w :x -1]) :process 0 :a 1.5 :b true :c x :d 3N :e nilly}",
        "{:type :ok, :f :read, :value [nil [nil]], :process :nemesis, :clock-offsets nil}",
    ],
)
def test_the_quick_way_reads_what_the_slow_way_reads(line: str) -> None:
    assert edn._map(line) == edn.parse(line)[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "{:type :ok, :f :txn, :process 0}\n{:type :ok, :f [, :process 0}\n{:type :ok}\n",
            "line 2: character",
        ),
        ("{:type :ok, :f :txn}\n", "line 1: the operation has no :process"),
        ("{:type :yes, :f :txn, :process 0}\n", "line 1: unknown :type 'yes'"),
        ("[1 2]\n", "line 1: expected an operation map, got 1"),
        ("[{:type :ok, :f 1", "is never closed"),
        ("{:type :ok :f}\n", "line 1: character 14: a map has a key without a value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "history.edn"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        edn.read_history(path)
    assert complaint in str(told.value)
    assert str(path) in str(told.value)


def test_what_is_torn_off_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "history.edn"
    path.write_text(OPERATIONS + "{:type :ok, :f :tx")
    history = edn.read_history(path)
    assert len(history) == 5
    assert history.warnings == ("line 6 is torn (18 bytes) and was left out",)
