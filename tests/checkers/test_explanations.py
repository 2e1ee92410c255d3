"""A witness reads as a story: operations, faults and what the nodes said, in order; and names whom it concerns."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from checkers.exactly_once import ExactlyOnceChecker
from checkers.log import LogChecker
from harness.checker import CheckContext
from harness.errors import UserError
from harness.history import History, read_history
from harness.node import NodeEvent
from harness.ops import NEMESIS, Op
from harness.results import Anomaly

HISTORIES = Path(__file__).parent / "histories"
LOST = HISTORIES / "log" / "lost-write--acknowledged-and-absent-from-the-final-read.invalid.jsonl"
MS = 1_000_000


def lost(history: History, *events: NodeEvent) -> Anomaly:
    [anomaly] = LogChecker().check(history, CheckContext(events=events)).anomalies
    return anomaly


def with_fault(history: History, begins: int, ends: int) -> History:
    """A kill of b1 in front of the given operations."""
    ops: list[Op] = []
    for number, op in enumerate(history.ops):
        for at, f in ((begins, "kill"), (ends, "restart")):
            if number == at:
                for type in ("invoke", "ok"):
                    value = {"fault": 0, "targets": ["b1"]}
                    ops.append(Op(index=0, time=op.time, process=NEMESIS, type=type, f=f, value=value))
        ops.append(op)
    return History(msgspec.structs.replace(op, index=i) for i, op in enumerate(ops))


def test_the_sentence_names_record_place_witness_and_share() -> None:
    anomaly = lost(read_history(LOST))
    assert anomaly.summary == (
        "orders/0 offset 1: `0:1`, acknowledged to process 0 at 0.040 s, is lost: the final read (2 records, to its end "
        "offset 3) does not have it (1 of 3 acknowledged records of orders/0, 33.3 %)"
    )
    assert (anomaly.where, anomaly.affected, anomaly.out_of) == ("orders/0", 1, 3)
    assert anomaly.ops == (2, 3, 9)


def test_the_story_has_faults_and_events_of_the_partition() -> None:
    history = with_fault(read_history(LOST), begins=5, ends=7)
    fields = {"partition": "orders/0", "was": 3, "end": 1}
    events = (
        NodeEvent(time=65 * MS, node="b2", kind="truncated", fields=fields),
        NodeEvent(time=66 * MS, node="b2", kind="truncated", fields={"partition": "orders/1"}),
    )
    anomaly = lost(history, *events)
    told = [moment.text for moment in anomaly.story]
    assert "b1 is killed" in told
    assert "b2 truncates orders/0 from end offset 3 to 1: what stood at 1 is gone from it" in told
    assert not any("orders/1" in text for text in told)
    assert told[0] == "process 0 sends `0:1` to orders/0"
    assert told[1] == "`0:1` is acknowledged at offset 1 to process 0"
    assert anomaly.faults == (6,)


def test_a_fault_that_was_over_before_is_not_among_the_faults() -> None:
    assert lost(with_fault(read_history(LOST), begins=0, ends=1)).faults == ()


def test_a_fault_that_never_ended_is() -> None:
    assert lost(with_fault(read_history(LOST), begins=5, ends=99)).faults == (6,)


def test_many_instances_are_one_anomaly() -> None:
    ops: list[Op] = []
    for number in range(1_000):
        ops.append(
            Op(index=2 * number, time=number, process=0, type="invoke", f="send", key="o/0", value=number)
        )
        extra = {"offset": number}
        ops.append(
            Op(
                index=2 * number + 1,
                time=number,
                process=0,
                type="ok",
                f="send",
                key="o/0",
                value=number,
                extra=extra,
            )
        )
    end = {"from": 0, "next": 1_000, "end": 1_000, "reached": True}
    ops.append(
        Op(index=2_000, time=1_000, process=1, type="invoke", f="final-read", key="o/0", extra={"from": 0})
    )
    ops.append(
        Op(index=2_001, time=1_000, process=1, type="ok", f="final-read", key="o/0", value=[], extra=end)
    )
    anomaly = lost(History(ops))
    assert anomaly.affected == anomaly.out_of == 1_000
    assert len(anomaly.ops) <= 60
    assert len(anomaly.data["instances"]) == 100
    assert msgspec.json.decode(msgspec.json.encode(anomaly), type=Anomaly) == anomaly


@pytest.mark.parametrize(
    ("f", "value", "extra"),
    [
        ("poll", "no list", {}),
        ("poll", [["orders/0", "zero", "v"]], {}),
        ("poll", [["orders/0", 1]], {}),
        ("final-read", [], {}),
        ("end-offset", [5], {}),
        ("committed", [["input/0", "x"]], {}),
        ("transfer", {"inputs": [["input/0", "x", "v"]], "outputs": []}, {}),
    ],
)
def test_a_value_of_another_shape_is_named(f: str, value: object, extra: dict[str, object]) -> None:
    history = History(
        [
            Op(index=4, time=0, process=0, type="invoke", f=f, key="orders/0"),
            Op(index=5, time=1, process=0, type="ok", f=f, key="orders/0", value=value, extra=extra),
        ]
    )
    with pytest.raises(UserError, match=rf"operation 4 \({f}\)"):
        ExactlyOnceChecker().check(history, CheckContext())


def test_odd_values_are_values() -> None:
    """Histories come from anywhere: a value may be any JSON."""
    odd: list[object] = [{"a": [1]}, 1, "1", 1.5, True, None, "<script>"]
    ops: list[Op] = []
    for number, value in enumerate(odd):
        for type in ("invoke", "ok"):
            extra = {"offset": number} if type == "ok" else {}
            ops.append(
                Op(
                    index=len(ops),
                    time=0,
                    process=0,
                    type=type,
                    f="send",
                    key="o/0",
                    value=value,
                    extra=extra,
                )
            )
    records = [["o/0", number, value] for number, value in enumerate(odd)]
    end = {"from": 0, "next": len(odd), "end": len(odd), "reached": True}
    ops.append(
        Op(index=len(ops), time=0, process=1, type="invoke", f="final-read", key="o/0", extra={"from": 0})
    )
    ops.append(
        Op(index=len(ops), time=0, process=1, type="ok", f="final-read", key="o/0", value=records, extra=end)
    )
    assert LogChecker().check(History(ops), CheckContext()).verdict == "valid"
