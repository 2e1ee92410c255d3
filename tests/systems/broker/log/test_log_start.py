"""Logs that do not begin at 0: retention, DeleteRecords, and what a restart makes of them (semantics 2.6)."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from systems.broker.log.log import Log
from systems.broker.log.retention import RetentionLimits
from tests.systems.broker.batches import at, batch
from tests.systems.broker.memory_environment import MemoryDisk

SEGMENT_BYTES = 400
T0 = 1_700_000_000_000


def _open(disk: MemoryDisk) -> Log:
    return Log(disk, "t-0", segment_bytes=SEGMENT_BYTES, flush_every_append=False)


def _filled(disk: MemoryDisk, count: int = 30) -> Log:
    log = _open(disk)
    for offset in range(count):
        data = batch(producer_id=7, producer_epoch=0, sequence=offset, timestamp=T0 + offset * 1000)
        log.append(*at(data, offset, epoch=offset // 10))
    return log


def _offsets(log: Log) -> list[int]:
    return [h.base_offset for h, _ in log.batches(log.start_offset, log.end_offset)]


def _bases(disk: MemoryDisk) -> list[int]:
    return [int(n.split("/")[1].removesuffix(".log")) for n in disk.list("t-0/") if n.endswith(".log")]


def test_a_restart_begins_where_retention_left_it() -> None:
    disk = MemoryDisk()
    log = _filled(disk)
    assert log.advance_start(17)
    assert asyncio.run(log.remove_old_segments()) > 0
    again = _open(disk)
    assert (again.start_offset, again.end_offset) == (17, 30)
    assert _offsets(again)[-1] == 29
    assert again.epochs.entries() == log.epochs.entries() == [(1, 17), (2, 20)]
    assert again.producers.snapshot(0) == log.producers.snapshot(0)


def test_a_log_that_was_removed_whole_goes_on_at_its_end() -> None:
    disk = MemoryDisk()
    log = _filled(disk)
    log.advance_start(30)
    asyncio.run(log.remove_old_segments())
    again = _open(disk)
    assert (again.start_offset, again.end_offset) == (30, 30)
    assert again.producers.entry(7) == log.producers.entry(7), "a retry is still recognised"
    again.append(*at(batch(), 30, epoch=3))
    assert _offsets(_open(disk)) == [30]


def test_a_power_loss_that_brings_removed_segments_back_makes_no_hole() -> None:
    disk = MemoryDisk()
    log = _filled(disk)
    first = disk.list("t-0/")[0]
    kept = disk.read(first)
    log.advance_start(17)
    asyncio.run(log.remove_old_segments())
    disk.write(first, kept)
    again = _open(disk)
    assert (again.start_offset, again.end_offset) == (17, 30)
    assert first not in disk.list("t-0/")


def test_a_log_that_lost_everything_above_its_start_begins_there() -> None:
    disk = MemoryDisk()
    log = _filled(disk)
    log.advance_start(17)
    asyncio.run(log.remove_old_segments())
    for name in disk.list("t-0/"):
        if name.endswith(".log"):
            disk.remove(name)
    again = _open(disk)
    assert (again.start_offset, again.end_offset) == (17, 17)


def test_a_cut_below_the_start_begins_anew() -> None:
    disk = MemoryDisk()
    log = _filled(disk)
    log.advance_start(17)
    assert log.truncate(5) == 5
    assert (log.start_offset, log.end_offset) == (5, 5)
    log.append(*at(batch(), 5, epoch=4))
    assert _offsets(_open(disk)) == [5]


def test_retention_by_time_takes_whole_old_segments_only() -> None:
    log = _filled(MemoryDisk())
    limits = RetentionLimits(10_000, -1)
    beyond = log.beyond_retention(limits, T0 + 25_000, 30)
    assert beyond is not None
    assert beyond.reason == "time"
    assert 0 < beyond.start_offset <= 15, "nothing younger than ten seconds"
    assert log.beyond_retention(limits, T0 + 5_000, 30) is None


def test_retention_by_size_never_falls_below_the_limit() -> None:
    disk = MemoryDisk()
    log = _filled(disk)
    size = sum(disk.size(n) for n in disk.list("t-0/") if n.endswith(".log"))
    assert log.beyond_retention(RetentionLimits(-1, size), T0, 30) is None
    beyond = log.beyond_retention(RetentionLimits(-1, 1000), T0, 30)
    assert beyond is not None
    log.advance_start(beyond.start_offset)
    asyncio.run(log.remove_old_segments())
    left = sum(disk.size(n) for n in disk.list("t-0/") if n.endswith(".log"))
    assert 1000 <= left < 1000 + SEGMENT_BYTES


def test_retention_stops_at_the_last_stable_offset() -> None:
    log = _filled(MemoryDisk())
    beyond = log.beyond_retention(RetentionLimits(0, -1), T0 + 10**9, 12)
    assert beyond is not None
    assert beyond.start_offset <= 12


def test_a_search_by_time_finds_nothing_below_the_start() -> None:
    log = _filled(MemoryDisk())
    log.advance_start(17)
    found = log.offset_for_timestamp(T0, 30)
    assert found is not None
    assert found[0] == 17
    assert log.max_timestamp(25) == T0 + 24_000
    log.advance_start(30)
    assert log.offset_for_timestamp(T0, 30) is None
    assert log.max_timestamp(30) == -1


def test_an_old_segment_gets_a_successor() -> None:
    disk = MemoryDisk()
    log = _open(disk)
    log.append(*at(batch(timestamp=T0), 0))
    log.roll_if_older(1000, T0 + 500)
    log.append(*at(batch(timestamp=T0), 1))
    assert _bases(disk) == [0]
    log.roll_if_older(1000, T0 + 1500)
    log.append(*at(batch(timestamp=T0), 2))
    assert _bases(disk) == [0, 2]


def test_silent_producers_are_forgotten_unless_a_transaction_is_open() -> None:
    log = _filled(MemoryDisk(), 3)
    log.append(*at(batch(producer_id=8, producer_epoch=0, sequence=0, transactional=True, timestamp=T0), 3))
    assert log.producers.expire(T0) == []
    assert log.producers.expire(T0 + 10_000) == [7]
    assert log.producers.open_since(8) == 3


@given(st.lists(st.tuples(st.sampled_from(["append", "start", "cut", "restart"]), st.integers(0, 40))))
def test_any_history_of_a_log_survives_restarts(steps: list[tuple[str, int]]) -> None:
    disk = MemoryDisk()
    log = _open(disk)
    for step, number in steps:
        match step:
            case "append":
                log.append(
                    *at(batch(1 + number % 3, producer_id=number % 4, producer_epoch=0), log.end_offset)
                )
            case "start":
                log.advance_start(min(number, log.end_offset))
                asyncio.run(log.remove_old_segments())
            case "cut":
                log.truncate(number)
            case _:
                before = (log.start_offset, log.end_offset, _offsets(log), log.epochs.entries())
                log = _open(disk)
                assert (log.start_offset, log.end_offset, _offsets(log), log.epochs.entries()) == before
    assert log.start_offset <= log.end_offset
