"""Every anomaly has a history that shows it and, beside it, its closest legal neighbour.

A file is `histories/MODEL/ANOMALY--WHAT-IT-SHOWS.VERDICT.jsonl`. An invalid one shows its anomaly, and of others
only what the anomaly implies there.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from checkers.transactions import ElleChecker
from checkers.transactions.checker import ANOMALIES
from checkers.transactions.loading import read_transactions
from checkers.transactions.models import MODELS, forbidden, ruled_out, strongest
from harness.checker import CheckContext
from harness.history import History, read_history

FILES = [
    path
    for path in sorted((Path(__file__).parent / "histories").glob("*/*.jsonl"))
    if path.parent.name != "kafka"
]
"""Those of logs: `test_kafka_histories.py`."""
ALSO = {
    "internal--two-reads-of-one-transaction-differ": {"fractured-read", "G-single"},
    "dirty-update--an-append-behind-a-failed-one": {"G1a"},
    "lost-update--two-appends-on-one-read": {"G-single"},
    "lost-update--nobody-read-the-appends": {"G2-item"},
    "lost-update--two-writes-on-one-read": {"G2-item"},
    "fractured-read--one-write-of-two": {"G-single"},
    "long-fork--two-readers-two-orders": {"G-nonadjacent"},
    "G-nonadjacent-process--two-sessions-see-two-orders": {"G-single-realtime"},
    "G-nonadjacent-realtime--two-pairs-of-readers-see-two-orders": {"G-single-realtime"},
    "cyclic-versions--each-was-written-over-the-other": {"G1c"},
    "G0--two-writers-over-each-other-in-registers": {"G1c"},
}
"""What cannot be shown without showing something else."""


def context(path: Path) -> CheckContext:
    return CheckContext(options={"model": path.parent.name})


@pytest.mark.parametrize("path", FILES, ids=[f"{p.parent.name}/{p.stem}" for p in FILES])
def test_history_is_judged_as_its_name_says(path: Path) -> None:
    anomaly, verdict = path.name.split("--")[0], path.name.split(".")[-2]
    result = ElleChecker().check(read_history(path), context(path))
    assert result.verdict == verdict, (result.reason, [a.summary for a in result.anomalies])
    names = {a.name for a in result.anomalies}
    if verdict == "invalid":
        assert names == {anomaly} | ALSO.get(path.name.split(".")[0], set())
        assert result.measures["ruled_out"] == ruled_out(names)
        assert result.measures["strongest"] == strongest(names)
    else:
        assert not names
    if verdict == "unknown":
        assert result.reason
        assert any(character.isdigit() for character in result.reason)


@pytest.mark.parametrize("path", FILES, ids=[f"{p.parent.name}/{p.stem}" for p in FILES])
def test_read_as_columns_it_is_judged_the_same(path: Path) -> None:
    checker = ElleChecker()
    columns = checker.read(path, context(path))
    slow = read_history(path)
    assert checker.check(columns, context(path)) == checker.check(slow, context(path))
    assert columns.tally == slow.tally
    assert columns.end_ns == slow.end_ns
    assert (
        read_transactions(path, "list-append" if path.parent.name == "list-append" else "rw-register").faults
        == []
    )


def test_every_anomaly_has_a_history_that_shows_it() -> None:
    assert {p.name.split("--")[0] for p in FILES if ".invalid" in p.name} == set(ANOMALIES)


@pytest.mark.parametrize("path", [p for p in FILES if ".invalid" in p.name], ids=lambda p: p.stem)
def test_a_witness_can_be_followed(path: Path) -> None:
    """Operations exist, the story is in order of time, a cycle has a sentence an edge and closes."""
    history = read_history(path)
    for anomaly in ElleChecker().check(history, context(path)).anomalies:
        assert set(anomaly.ops) <= {op.index for op in history}
        assert anomaly.ops
        assert anomaly.summary[0].isalnum()
        assert [m.time for m in anomaly.story] == sorted(m.time for m in anomaly.story)
        names = {t["name"] for t in anomaly.data["transactions"]}
        cycle = anomaly.data.get("cycle", [])
        for edge, following in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True):
            assert edge["to"] == following["from"]
            assert {edge["from"], edge["to"]} <= names
            assert edge["from"] in edge["why"]
            assert edge["to"] in edge["why"]


def test_the_lattice_grows_upwards() -> None:
    for model in MODELS.values():
        for weaker in model.weaker:
            assert forbidden(weaker) <= forbidden(model.name)
            assert list(MODELS).index(weaker) < list(MODELS).index(model.name)
    assert forbidden("strict-serializable") == set(ANOMALIES)


@pytest.mark.parametrize(
    ("anomalies", "standing"),
    [
        (set(), ["strict-serializable"]),
        ({"G-single-realtime"}, ["strong-session-serializable"]),
        ({"G-single-process"}, ["serializable"]),
        ({"G2-item-realtime"}, ["strong-snapshot-isolation", "strong-session-serializable"]),
        ({"G2-item"}, ["strong-snapshot-isolation"]),
        ({"long-fork"}, ["parallel-snapshot-isolation"]),
        ({"G-single"}, ["cursor-stability", "read-atomic"]),
        ({"lost-update", "fractured-read"}, ["monotonic-atomic-view"]),
        ({"G1c"}, ["read-uncommitted"]),
        ({"G0"}, []),
    ],
)
def test_what_still_stands(anomalies: set[str], standing: list[str]) -> None:
    assert strongest(anomalies) == standing


def test_processes_of_a_picture_go_by_their_names_in_the_history() -> None:
    """The columns count them; a process is told by the number that everything else of a report knows it by."""
    history = read_history(
        Path(__file__).parent / "histories" / "list-append" / "G2-item--write-skew.invalid.jsonl"
    )
    moved = History(msgspec.structs.replace(op, process=int(op.process) + 40) for op in history.ops)
    [anomaly] = ElleChecker().check(moved, CheckContext()).anomalies
    by_index = {op.index: op.process for op in moved.ops}
    drawn = anomaly.data["transactions"]
    assert [t["process"] for t in drawn] == [by_index[t["invoked"]] for t in drawn]
