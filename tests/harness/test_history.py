"""The history on disk: what is written is there, what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.history import HistoryWriter, read_history

INVOKE = '{"index":0,"time":1,"process":0,"type":"invoke","f":"add","value":1}'
OK = '{"index":1,"time":2,"process":0,"type":"ok","f":"add"}'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    file = path / "history.jsonl"
    file.write_text("\n".join(lines) + end)
    return file


@given(values=st.lists(VALUES, max_size=5))
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[object]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    times = iter(range(100))
    writer = HistoryWriter(path, lambda: next(times))
    for process, value in enumerate(values):
        writer.append(process, "invoke", "add", key=value, value=value)
        writer.append(process, "ok", "add", value=value, extra={"offset": process})
    writer.close()
    assert read_history(path).ops == writer.ops


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    writer = HistoryWriter(path, lambda: 0)
    writer.append(0, "invoke", "add", value=1)
    assert len(read_history(path)) == 1
    writer.close()


def test_a_torn_last_line_is_left_out_and_told(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, INVOKE, OK[:20], end=""))
    assert len(history) == 1
    assert history.warnings == ("line 2 is torn (20 bytes) and was left out",)


def test_an_operation_without_completion_counts_as_info(tmp_path: Path) -> None:
    [operation] = read_history(write(tmp_path, INVOKE)).operations
    assert operation.outcome == "info"
    assert operation.end is None
    assert operation.value == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: not JSON"),
        (["[1]"], "line 1: expected an object, got list"),
        (['{"index":0}'], "line 1: field 'time' is missing"),
        ([INVOKE.replace("invoke", "begin")], "line 1: unknown type 'begin'"),
        ([INVOKE.replace('"time":1', '"time":1.5')], "line 1: 'time' must be a whole number, got 1.5"),
        ([INVOKE, INVOKE], "line 2: index 0 does not follow 0"),
        ([INVOKE, OK.replace('"time":2', '"time":0')], "line 2: time 0 is before"),
        ([INVOKE, INVOKE.replace('"index":0', '"index":1')], "process 0 already has operation 0 open"),
        ([OK], "'ok' of process 0, which has no open operation"),
        (
            [INVOKE, OK.replace("ok", "info"), INVOKE.replace('"index":0,"time":1', '"index":2,"time":3')],
            "line 3: process 0 acts after its 'info'",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, lines: list[str], message: str) -> None:
    file = write(tmp_path, *lines)
    with pytest.raises(UserError) as raised:
        read_history(file)
    assert message in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_history(tmp_path / "none.jsonl")
