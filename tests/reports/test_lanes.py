"""Faults as bands, the cluster as lanes, witnesses as strips: small inputs, exact outputs."""

from __future__ import annotations

from typing import Any

from harness.node import NodeEvent
from harness.ops import NEMESIS, Op, Operation
from reports.faults import bands
from reports.lanes import lanes
from reports.offsets import strip
from reports.space_time import ROW, TOP, height_at
from reports.witness import window


def fault(index: int, time_us: int, type: Any, f: str, position: int = 0, **value: Any) -> Op:
    told = {"fault": position, "selector": "leader(orders/0)"} | value
    return Op(index=index, time=time_us * 1_000, process=NEMESIS, type=type, f=f, value=told)


def test_a_band_lasts_from_its_effect_to_its_undoing_and_knows_its_events() -> None:
    (band,) = bands(
        [
            fault(3, 100, "invoke", "kill"),
            fault(4, 110, "ok", "kill", targets=["b1"], verified=True),
            fault(9, 500, "invoke", "restart"),
            fault(10, 530, "ok", "restart", targets=["b1"]),
        ],
        9_000,
    )
    assert (band.start, band.end, band.targets, band.verified) == (110, 500, ["b1"], True)
    assert band.events == [3, 4, 9, 10]
    assert band.label == "kill leader(orders/0) → b1"


def test_bands_that_overlap_get_rows_of_their_own() -> None:
    found = bands(
        [
            op
            for position, (start, end) in enumerate([(0, 100), (50, 150), (120, 200)])
            for op in (
                fault(position * 9, start, "invoke", "pause", position),
                fault(position * 9 + 1, start, "ok", "pause", position, targets=["b1"]),
                fault(position * 9 + 2, end, "invoke", "resume", position),
            )
        ],
        9_000,
    )
    assert [b.row for b in found] == [0, 1, 0]


def test_a_fault_without_a_target_is_a_moment_and_an_unended_one_lasts() -> None:
    nobody, lasting = bands(
        [
            fault(0, 10, "invoke", "kill"),
            fault(1, 12, "fail", "kill"),
            fault(2, 20, "invoke", "pause", 1),
            fault(3, 20, "ok", "pause", 1, targets=["b2"]),
        ],
        700,
    )
    assert (nobody.outcome, nobody.end) == ("fail", 12)
    assert (lasting.outcome, lasting.end) == ("ok", 700)


def test_an_armed_crash_ends_with_the_crash() -> None:
    armed, crash = bands(
        [
            fault(0, 10, "invoke", "crash-at", params={"step": "s"}),
            fault(1, 10, "ok", "crash-at", targets=["b1", "b2"], params={"step": "s"}),
            fault(2, 60, "invoke", "kill", params={"step": "s"}),
            fault(3, 60, "ok", "kill", targets=["b2"], verified=True, params={"step": "s"}),
            fault(4, 90, "invoke", "restart"),
        ],
        700,
    )
    assert (armed.end, crash.start, crash.end) == (60, 60, 90)
    assert all(
        not lane.segments or lane.name == "b2" for lane in lanes((), [armed, crash], ["b1", "b2"], 700)
    )


def changed(time_us: int, leader: str | None, epoch: int, isr: str, partition: str = "orders/0") -> NodeEvent:
    fields = {
        "partition": partition,
        "leader": leader,
        "leader_epoch": epoch,
        "isr": isr.split(),
        "reason": "r",
    }
    return NodeEvent(time_us * 1_000, "c1", "partition-changed", fields)


def test_a_partition_is_a_lane_of_leaders_and_isrs() -> None:
    events = [changed(10, "b1", 0, "b1 b2 b3"), changed(40, "b1", 0, "b1 b2"), changed(70, None, 1, "b2")]
    (lane,) = lanes(events, (), (), 100)
    assert [(s.start, s.end, s.text, s.note, s.weak) for s in lane.segments] == [
        (10, 40, "b1 e0", "b1 b2 b3", False),
        (40, 70, "b1 e0", "b1 b2", True),
        (70, 100, "no leader", "b2", True),
    ]


def test_what_happened_to_a_partition_is_marked_on_it_and_the_rest_on_the_node() -> None:
    events = [
        changed(10, "b1", 0, "b1 b2"),
        changed(11, "b2", 0, "b1 b2", "__transaction_state/0"),
        NodeEvent(50_000, "b2", "truncated", {"partition": "orders/0", "from": 9, "to": 7}),
        NodeEvent(60_000, "b2", "something-new", {"x": [1, 2]}),
    ]
    found = {lane.name: lane for lane in lanes(events, (), ["b2"], 100)}
    assert [m.text for m in found["orders/0"].marks] == ["b2: truncated (partition orders/0, from 9, to 7)"]
    assert [m.text for m in found["b2"].marks] == ["b2: something-new (x 1 2)"]
    assert list(found) == ["orders/0", "b2", "__transaction_state/0"], "internal topics come last"


def send(index: int, value: str, offset: int, process: int = 1) -> Operation:
    invoke = Op(index=index, time=index, process=process, type="invoke", f="send", key="t/0", value=value)
    done = Op(
        index=index + 1,
        time=index + 1,
        process=process,
        type="ok",
        f="send",
        key="t/0",
        value=value,
        extra={"offset": offset},
    )
    return Operation(invoke, done)


def read(index: int, records: list[Any], start: int, end: int) -> Operation:
    invoke = Op(
        index=index, time=index, process=9, type="invoke", f="final-read", key="t/0", extra={"from": start}
    )
    done = Op(
        index=index + 1,
        time=index + 1,
        process=9,
        type="ok",
        f="final-read",
        key="t/0",
        value=records,
        extra={"from": start, "next": end},
    )
    return Operation(invoke, done)


def test_a_strip_shows_who_saw_what_and_where_nothing_was() -> None:
    final = read(10, [["t/0", 4, "a"], ["t/0", 6, "z"]], 0, 8)
    found = strip([send(0, "x", 5), send(2, "y", 6, process=2)], [final])
    assert found is not None
    assert (found.partition, found.offsets, found.focus) == ("t/0", [3, 4, 5, 6, 7, 8], [5, 6])
    sends, finals = found.rows
    assert (sends.label, finals.label) == ("send", "final-read p9")
    assert [(c.text, c.absent, c.differs) for c in sends.cells[2:4]] == [
        ("x", False, False),
        ("y", False, True),
    ]
    assert [(c.text, c.absent, c.differs) for c in finals.cells] == [
        (None, True, False),
        ("a", False, False),
        (None, True, False),
        ("z", False, True),
        (None, True, False),
        (None, False, False),
    ]


def test_operations_that_contradict_each_other_get_rows_of_their_own() -> None:
    found = strip([send(0, "x", 5), send(2, "y", 5, process=2)])
    assert found is not None
    assert [row.label for row in found.rows] == ["send p1", "send p2"]


def test_no_strip_without_anything_to_compare() -> None:
    assert strip([send(0, "x", 5)]) is None
    assert strip([]) is None


def test_times_between_rows_lie_between_them() -> None:
    times = [100, 200, 200, 1_000]
    assert height_at(50, times) == TOP
    assert height_at(100, times) == TOP + ROW * 0.5
    assert height_at(150, times) == TOP + ROW
    assert height_at(1_000, times) == TOP + ROW * 3.5
    assert height_at(2_000, times) == TOP + ROW * 4


def test_a_final_read_long_after_everything_is_left_out_of_the_view() -> None:
    assert window([9, 12, 16, 55]) == (9, 16)
    assert window([9, 30, 55]) == (9, 30)
    assert window([9, 40, 55]) == (9, 55)
