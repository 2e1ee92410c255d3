"""Rule 7 (semantics 1c): what lies below the log's start was removed on purpose, and nothing above it may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers.exactly_once import ExactlyOnceChecker
from checkers.log.checker import LogChecker
from harness.checker import CheckContext
from harness.history import History, HistoryWriter, read_history
from harness.results import Verdict

HISTORIES = Path(__file__).parent / "histories"
P = "orders/0"


def _history(log_start: int, kept: list[int], *, offsets: bool = True) -> History:
    """Five acknowledged records, read by a consumer, of which the final read finds `kept`."""
    writer = HistoryWriter(None, lambda: 0)
    for offset in range(5):
        writer.append(1, "invoke", "send", key=P, value=f"1:{offset}")
        extra = {"offset": offset} if offsets else {}
        writer.append(1, "ok", "send", key=P, value=f"1:{offset}", extra=extra)
    records = [[P, offset, f"1:{offset}"] for offset in range(5)]
    writer.append(2, "invoke", "poll")
    writer.append(2, "ok", "poll", value=records, extra={"assigned": [[P, 0]]})
    writer.append(3, "invoke", "final-read", key=P, extra={"from": 0})
    told = {"from": 0, "next": 5, "end": 5, "reached": True, "log_start": log_start}
    writer.append(3, "ok", "final-read", key=P, value=[records[o] for o in kept], extra=told)
    return History(writer.ops)


@pytest.mark.parametrize(
    ("log_start", "kept", "expected"),
    [
        (3, [3, 4], set()),
        (5, [], set()),
        (3, [4], {"lost-write", "vanished-read"}),
        (0, [3, 4], {"lost-write", "vanished-read"}),
    ],
)
def test_only_what_is_above_the_start_can_be_lost(
    log_start: int, kept: list[int], expected: set[str]
) -> None:
    result = LogChecker().check(_history(log_start, kept), CheckContext(config={}))
    assert {a.name for a in result.anomalies if not a.allowed} == expected
    assert result.verdict == (Verdict.INVALID if expected else Verdict.VALID)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"log.retention.ms": 60_000}, {"lost-write"}),
        ({"log.retention.ms": 10}, set()),
        ({"log.retention.ms": 60_000, "log.retention.bytes": 2_048}, set()),
        ({"log.retention.ms": -1}, set()),
    ],
)
def test_what_retention_by_time_removes_before_its_time_is_lost(
    config: dict[str, int], expected: set[str]
) -> None:
    """All of it happens within a second."""
    ticks = iter(range(0, 10**9, 50_000_000))
    writer = HistoryWriter(None, lambda: next(ticks))
    for op in _history(3, [3, 4]).ops:
        extra = {key: value for key, value in op.extra.items() if key != "error"}
        writer.append(op.process, op.type, op.f, key=op.key, value=op.value, extra=extra)
    result = LogChecker().check(History(writer.ops), CheckContext(config=config))
    assert {a.name for a in result.anomalies if not a.allowed} == expected


def test_without_offsets_nobody_can_tell_what_was_removed() -> None:
    result = LogChecker().check(_history(3, [3, 4], offsets=False), CheckContext(config={}))
    assert result.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("told", "expected"), [(True, set()), (False, {"lost-write"})])
def test_a_poll_that_says_where_the_log_begins_proves_no_loss_below(told: bool, expected: set[str]) -> None:
    """Retention overtook the only reader, and there is no final read."""
    writer = HistoryWriter(None, lambda: 0)
    for offset in range(5):
        writer.append(1, "invoke", "send", key=P, value=f"1:{offset}")
        writer.append(1, "ok", "send", key=P, value=f"1:{offset}", extra={"offset": offset})
    writer.append(2, "invoke", "poll")
    writer.append(2, "ok", "poll", value=[[P, 0, "1:0"]], extra={"assigned": [[P, 0]]})
    writer.append(2, "invoke", "poll")
    extra = {"log_start": [[P, 3]]} if told else {}
    writer.append(2, "ok", "poll", value=[[P, offset, f"1:{offset}"] for offset in (3, 4)], extra=extra)
    result = LogChecker().check(History(writer.ops), CheckContext(config={}))
    assert expected <= {a.name for a in result.anomalies if not a.allowed}
    assert told == (not {a.name for a in result.anomalies if not a.allowed})


def test_outputs_that_were_removed_are_named_with_where_they_begin() -> None:
    name = "eos-loss--retention-took-the-beginning-of-the-output.unknown.jsonl"
    result = ExactlyOnceChecker().check(read_history(HISTORIES / "exactly-once" / name), CheckContext())
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason is not None
    assert "1 output partitions do not begin at offset 0 any more (output/0 at offset 1)" in result.reason
