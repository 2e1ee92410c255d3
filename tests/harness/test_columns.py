"""Histories as columns say what histories as objects say, and refuse what those refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.columns import FAIL, INFO, OK, OPEN, ColumnarHistory, Table, columns_of, read_columns
from harness.errors import UserError
from harness.history import History, read_history

LINES = [
    '{"index":0,"time":1,"process":0,"type":"invoke","f":"write","key":"x","value":[1,2]}',
    '{"index":1,"time":1,"process":"nemesis","type":"invoke","f":"kill","value":{"fault":0,"targets":["n1"]}}',
    '{"index":2,"time":2,"process":1,"type":"invoke","f":"read","key":"x"}',
    '{"index":3,"time":3,"process":0,"type":"ok","f":"write","key":"x","value":[1,2]}',
    '{"index":4,"time":4,"process":2,"type":"invoke","f":"write","key":"y","value":true}',
    '{"index":5,"time":5,"process":1,"type":"ok","f":"read","key":"x","value":1}',
    '{"index":6,"time":6,"process":2,"type":"info","f":"write","key":"y","value":true}',
    '{"index":7,"time":7,"process":1,"type":"invoke","f":"write","key":"x","value":3}',
    '{"index":8,"time":8,"process":1,"type":"fail","f":"write","key":"x","value":3}',
    '{"index":9,"time":9,"process":0,"type":"invoke","f":"read","key":"x"}',
]


def written(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_text("\n".join(lines) + end)
    return path


def test_a_row_is_an_operation(tmp_path: Path) -> None:
    history = read_columns(written(tmp_path / "h.jsonl", LINES))
    columns = history.columns
    assert [columns.fs[n] for n in columns.f] == ["write", "read", "write", "write", "read"]
    assert [columns.keys[n] for n in columns.key] == ["x", "x", "y", "x", "x"]
    assert [columns.values[n] for n in columns.answered] == [(1, 2), 1, True, 3, None]
    assert columns.outcome.tolist() == [OK, OK, INFO, FAIL, INFO]
    assert columns.start.tolist() == [0, 1, 3, 6, 8]
    assert columns.end.tolist() == [2, 4, OPEN, 7, OPEN]
    assert columns.complete_index.tolist() == [3, 5, 6, 8, -1]
    assert [op.f for op in history.faults] == ["kill"]


def test_both_ways_of_reading_agree(tmp_path: Path) -> None:
    path = written(tmp_path / "h.jsonl", LINES, end='\n{"index":10,"ti')
    slow, fast = read_history(path), read_columns(path)
    assert isinstance(fast, ColumnarHistory)
    assert fast.warnings == slow.warnings
    assert fast.tally == slow.tally
    assert fast.end_ns == slow.end_ns
    assert fast.faults == slow.faults
    assert fast.ops == slow.ops
    assert fast.operations == slow.operations
    other = columns_of(slow)
    for name in ("f", "key", "process", "asked", "answered", "start", "end", "outcome", "invoke_time"):
        assert np.array_equal(getattr(fast.columns, name), getattr(other, name)), name


def test_true_is_not_one() -> None:
    table = Table()
    assert table.codes([1, True, [1, 2], [True, 2], 1.0, [1.0, 2], True, "1", None, [[True], 2]]) == [
        *(0, 1, 2, 3),
        *(0, 2, 1, 4, 5, 6),
    ]
    values = columns_of(History(read_history_lines(LINES))).values
    assert [v for v in values if v is True] == [True]
    assert [v for v in values if v == 1 and v is not True] == [1]


def read_history_lines(lines: list[str]) -> History:
    from harness.history import parse_line

    return History(parse_line(line.encode(), n) for n, line in enumerate(lines, start=1))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            '{"index":10,"time":9,"process":0,"type":"invoke","f":"read"}',
            "line 11: process 0 already has operation 9",
        ),
        (
            '{"index":10,"time":9,"process":2,"type":"invoke","f":"read"}',
            "line 11: process 2 acts after its 'info'",
        ),
        (
            '{"index":10,"time":9,"process":5,"type":"ok","f":"read"}',
            "line 11: 'ok' of process 5, which has no open",
        ),
        ('{"index":4,"time":9,"process":5,"type":"invoke","f":"read"}', "line 11: index 4 does not follow 9"),
        ('{"index":10,"time":2,"process":5,"type":"invoke","f":"read"}', "line 11: time 2 is before"),
        ('{"index":10,"time":9,"process":5,"type":"start","f":"read"}', "line 11: unknown type 'start'"),
        ('{"index":10,"time":9,"process":5,"type":"invoke"}', "line 11: field 'f' is missing"),
        ('{"index":10,"time":9,"process":5,"type":"invoke","f":"read","value":NaN}', "line 11: not JSON"),
        ("{", "line 11: not JSON"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(UserError, match=says.replace("'", ".")):
        read_columns(written(tmp_path / "h.jsonl", [*LINES, line]))


def test_an_empty_file_is_an_empty_history(tmp_path: Path) -> None:
    history = read_columns(written(tmp_path / "h.jsonl", [], end=""))
    assert len(history.columns) == 0
    assert not history.tally
