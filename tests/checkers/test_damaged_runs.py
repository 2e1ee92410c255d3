"""Legal histories, each damaged in one way: the checker must name the damage."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from log_model import eos_history, produce_history

from checkers.exactly_once import ExactlyOnceChecker
from checkers.log import LogChecker
from harness.checker import CheckContext, Checker
from harness.history import History
from harness.ops import Op

READS = ("poll", "final-read")
Records = list[list[Any]]


def edited(history: History, edit: Callable[[Op], Op]) -> History:
    return History([edit(op) for op in history.ops])


def with_records(
    history: History, edit: Callable[[Op, Records], Records], kinds: tuple[str, ...] = READS
) -> History:
    """Rewrites what the reads of these kinds returned."""

    def one(op: Op) -> Op:
        if op.f in kinds and op.type == "ok":
            return msgspec.structs.replace(op, value=edit(op, [list(r) for r in op.value]))
        return op

    return edited(history, one)


def without(history: History, value: Any, kinds: tuple[str, ...] = READS) -> History:
    return with_records(history, lambda _, records: [r for r in records if r[2] != value], kinds)


def names(checker: Checker, history: History) -> set[str]:
    return {a.name for a in checker.check(history, CheckContext()).anomalies}


def final_records(history: History, prefix: str) -> Records:
    return [
        r
        for op in history
        if op.f == "final-read" and op.type == "ok"
        for r in op.value
        if r[0].startswith(prefix)
    ]


def acknowledged(history: History) -> list[Op]:
    return [op for op in history if op.f == "send" and op.type == "ok" and isinstance(op.value, str)]


def append_to_final(history: History, record: list[Any]) -> History:
    """As if the record stood at the end of its partition too."""
    [last] = [
        op for op in history if op.f == "final-read" and op.key == record[0] and op.extra.get("reached")
    ]

    def one(op: Op) -> Op:
        if op is not last:
            return op
        end = op.extra["end"]
        extra = op.extra | {"next": end + 1, "end": end + 1, "high_watermark": end + 1}
        return msgspec.structs.replace(op, value=[*op.value, [record[0], end, record[2]]], extra=extra)

    return edited(history, one)


@pytest.fixture(params=range(15))
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


@pytest.fixture
def produced(rng: random.Random) -> History:
    return produce_history(rng, 600)


@pytest.fixture
def processed(rng: random.Random) -> History:
    return eos_history(rng, 800)


def test_an_acknowledged_record_is_gone(produced: History, rng: random.Random) -> None:
    value = rng.choice(acknowledged(produced)).value
    assert names(LogChecker(), without(produced, value)) == {"lost-write"}


def test_a_record_is_gone_that_had_been_polled(produced: History, rng: random.Random) -> None:
    polled = [r[2] for op in produced if op.f == "poll" and op.type == "ok" for r in op.value]
    found = names(LogChecker(), without(produced, rng.choice(polled), ("final-read",)))
    assert "vanished-read" in found
    assert found <= {"vanished-read", "lost-write"}


def test_a_record_stands_there_twice(produced: History, rng: random.Random) -> None:
    damaged = append_to_final(produced, rng.choice(final_records(produced, "orders")))
    assert names(LogChecker(), damaged) == {"duplicate"}


def test_two_records_of_one_producer_are_swapped(produced: History, rng: random.Random) -> None:
    records = final_records(produced, "orders/0")
    by_process: dict[str, list[str]] = {}
    for record in records:
        by_process.setdefault(record[2].split(":")[0], []).append(record[2])
    first, second = rng.choice([values for values in by_process.values() if len(values) > 1])[:2]
    swap = {first: second, second: first}
    damaged = with_records(produced, lambda _, rs: [[n, o, swap.get(v, v)] for n, o, v in rs])
    assert names(LogChecker(), damaged) & {"nonmonotonic-send", "int-nonmonotonic-send"}


def test_one_reader_is_told_something_else(produced: History, rng: random.Random) -> None:
    polls = [op for op in produced if op.f == "poll" and op.type == "ok" and op.value]
    chosen = rng.choice(polls)
    other = next(r[2] for r in final_records(produced, chosen.value[0][0]) if r[2] != chosen.value[0][2])
    damaged = with_records(
        produced, lambda op, rs: [[rs[0][0], rs[0][1], other], *rs[1:]] if op is chosen else rs
    )
    assert {"inconsistent-offsets", "vanished-read"} <= names(LogChecker(), damaged)


def test_a_record_is_read_whose_send_failed(produced: History, rng: random.Random) -> None:
    read = {r[2] for r in final_records(produced, "orders")}
    chosen = rng.choice([op for op in acknowledged(produced) if op.value in read])
    damaged = edited(
        produced,
        lambda op: (
            msgspec.structs.replace(op, type="fail", extra={}, error="refused") if op is chosen else op
        ),
    )
    assert names(LogChecker(), damaged) == {"aborted-read"}


def test_a_poll_leaves_a_record_out(produced: History, rng: random.Random) -> None:
    polls = [
        op
        for op in produced
        if op.f == "poll" and op.type == "ok" and sum(r[0] == "orders/0" for r in op.value) >= 3
    ]
    chosen = rng.choice(polls)
    middle = [r for r in chosen.value if r[0] == "orders/0"][1]
    damaged = with_records(produced, lambda op, rs: [r for r in rs if r != middle] if op is chosen else rs)
    assert names(LogChecker(), damaged) == {"int-poll-skip"}


def test_a_consumer_is_sent_back(produced: History, rng: random.Random) -> None:
    polls = [op for op in produced if op.f == "poll" and op.type == "ok" and len(op.value) >= 2]
    chosen = rng.choice(polls)
    damaged = with_records(produced, lambda op, rs: [*rs, rs[0]] if op is chosen else rs)
    found = names(LogChecker(), damaged)
    assert "nonmonotonic-poll" in found
    assert found <= {"nonmonotonic-poll", "poll-skip"}  # the next poll jumps forward again


def test_an_end_offset_goes_back(produced: History) -> None:
    """The last record of a partition is cut off although its end had been told."""
    told = [op for op in produced if op.f == "end-offset" and op.type == "ok"]
    end = max(e for op in told for name, e in op.value if name == "orders/0")
    lower = 0

    def cut(op: Op) -> Op:
        if op.f == "final-read" and op.key == "orders/0" and op.type == "ok":
            extra = op.extra | {
                "next": lower,
                "end": lower,
                "high_watermark": lower,
                "reached": True,
                "from": 0,
            }
            return msgspec.structs.replace(op, value=[], extra=extra)
        return op

    assert end > 0
    assert "nonmonotonic-end-offset" in names(LogChecker(), edited(produced, cut))


def test_a_committed_output_is_gone(processed: History, rng: random.Random) -> None:
    value = rng.choice(final_records(processed, "output"))[2]
    found = names(ExactlyOnceChecker(), without(processed, value))
    part, of = value.rsplit(" ", 1)[1].split("/")
    assert found == ({"eos-loss", "torn-txn"} if of != "1" else {"eos-loss"}), part


def test_an_input_is_carried_twice(processed: History, rng: random.Random) -> None:
    """By another transaction, which the history has."""
    source, other = rng.sample(final_records(processed, "output"), 2)
    txn = other[2].split(" by ")[1].split(" ")[0]
    of = other[2].rsplit("/", 1)[1]
    again = f"{source[2].split(' by ')[0]} by {txn} 1/{of}"
    damaged = append_to_final(processed, [source[0], 0, again])
    assert "eos-duplicate" in names(ExactlyOnceChecker(), damaged)


def test_an_output_is_read_whose_transaction_was_aborted(processed: History, rng: random.Random) -> None:
    shown = {r[2].split(" by ")[1].split(" ")[0] for r in final_records(processed, "output")}
    chosen = rng.choice(
        [op for op in processed if op.f == "transfer" and op.type == "ok" and op.extra["txn"] in shown]
    )
    damaged = edited(
        processed,
        lambda op: msgspec.structs.replace(op, type="fail", error="aborted") if op is chosen else op,
    )
    assert names(ExactlyOnceChecker(), damaged) == {"aborted-read"}


def test_a_committed_offset_goes_back(processed: History) -> None:
    damaged = edited(
        processed,
        lambda op: (
            msgspec.structs.replace(op, value=[[name, 0] for name, _ in op.value])
            if op.f == "committed" and op.type == "ok"
            else op
        ),
    )
    assert names(ExactlyOnceChecker(), damaged) == {"offset-regression"}
