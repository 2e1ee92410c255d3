from __future__ import annotations

import asyncio
import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.folder_disk import FolderDisk
from systems.broker.log.log import Log
from systems.broker.log.stored import StoredRecords
from systems.broker.producer_state import ProducerStates
from tests.systems.broker.batches import at, batch
from tests.systems.broker.memory_environment import MemoryDisk


def _open(disk: MemoryDisk, segment_bytes: int = 400, *, flush: bool = False) -> Log:
    return Log(disk, "t-0", segment_bytes=segment_bytes, flush_every_append=flush)


def _content(log: Log) -> list[tuple[int, int, int]]:
    return [(h.base_offset, h.last_offset, h.leader_epoch) for h, _ in log.batches(0, log.end_offset)]


def _state(producers: ProducerStates) -> object:
    return producers.snapshot(0)


def test_reading_honours_limits() -> None:
    log = _open(MemoryDisk(), segment_bytes=10_000)
    size = len(batch(2))
    for offset in (0, 2, 4):
        log.append(*at(batch(2), offset))
    assert log.read(0, 6, 10_000).end_offset == 6
    assert log.read(0, 6, 1).end_offset == 2, "one batch at least"
    assert log.read(0, 6, 2 * size).end_offset == 4
    assert log.read(0, 6, 2 * size - 1).end_offset == 2
    assert log.read(3, 6, 10_000).records[:8] == (2).to_bytes(8, "big"), "from the batch that holds it"
    assert log.read(0, 4, 10_000).end_offset == 4, "not beyond the end that was asked for"
    assert log.read(6, 6, 10_000).records == b""


def test_a_torn_tail_is_cut_and_what_lies_behind_is_dropped() -> None:
    disk = MemoryDisk()
    log = _open(disk)
    for offset in range(20):
        log.append(*at(batch(), offset))
    names = disk.list("t-0/")
    logs = [n for n in names if n.endswith(".log")]
    assert len(logs) > 3
    disk.truncate(logs[1], disk.size(logs[1]) - 3)
    again = _open(disk)
    assert [b for b, _, _ in _content(again)] == list(range(again.end_offset))
    assert again.end_offset == int(logs[2].split("/")[1].removesuffix(".log")) - 1
    assert _state(_open(disk).producers) == _state(again.producers)


def test_with_the_mistake_a_torn_batch_is_a_hole_that_counts() -> None:
    disk = MemoryDisk()
    log = _open(disk, segment_bytes=10_000)
    for offset in (0, 2):
        log.append(*at(batch(2), offset))
    (name,) = (n for n in disk.list("t-0/") if n.endswith(".log"))
    disk.truncate(name, disk.size(name) - 3)
    torn = disk.read(name)
    wrong = Log(
        disk,
        "t-0",
        segment_bytes=10_000,
        flush_every_append=False,
        bugs=frozenset({"log-recovery-keeps-torn-batch"}),
    )
    assert wrong.end_offset == 4
    wrong.append(*at(batch(2), 4))
    assert [b for b, _, _ in _content(wrong)] == [0, 4]
    disk.write(name, torn)
    assert _open(disk).end_offset == 2


def test_a_log_that_lost_its_beginning_is_empty() -> None:
    disk = MemoryDisk()
    log = _open(disk)
    for offset in range(10):
        log.append(*at(batch(), offset))
    disk.remove(disk.list("t-0/")[0])
    assert _open(disk).end_offset == 0


def test_a_snapshot_of_another_history_is_not_used() -> None:
    """The log is cut and filled anew to the same length, but the old snapshot file comes back with the
    power: it must not be believed."""
    disk = MemoryDisk()
    log = _open(disk)
    for offset in range(8):
        log.append(*at(batch(producer_id=1, producer_epoch=0, sequence=offset), offset))
    snapshots = {n: disk.read(n) for n in disk.list("t-0/") if n.endswith(".snapshot")}
    assert snapshots
    log.truncate(0)
    for offset in range(8):
        log.append(*at(batch(producer_id=2, producer_epoch=0, sequence=offset), offset, 1))
    for name, data in snapshots.items():
        disk.write(name, data)
    again = _open(disk)
    assert again.producers.entry(1) is None
    assert _state(again.producers) == _state(log.producers)


def test_with_flush_on_every_append_only_synced_batches_count() -> None:
    disk = MemoryDisk()
    log = _open(disk, flush=True)
    log.append(*at(batch(), 0))
    assert (log.end_offset, log.durable_end_offset, log.is_durable) == (1, 0, False)
    asyncio.run(log.flush())
    assert (log.durable_end_offset, log.is_durable) == (1, True)
    log.append(*at(batch(), 1))
    log.truncate(0)
    assert log.durable_end_offset == 0


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 1 << 30))
def test_against_a_list(seed: int) -> None:
    """Appends, truncations and restarts; afterwards everything derived equals what a fresh log derives."""
    rng = random.Random(seed)
    disk = MemoryDisk()
    log = _open(disk, rng.choice((200, 400, 1200)))
    model: list[tuple[int, int, int]] = []
    sequences: dict[int, int] = {}
    epoch = 0
    for _ in range(rng.randint(1, 60)):
        action = rng.random()
        if action < 0.75:
            epoch += rng.random() < 0.15
            producer = rng.randint(1, 3)
            count = rng.randint(1, 3)
            entry = log.producers.entry(producer)
            first = (entry.last_sequence + 1) if entry is not None else 0
            data = batch(
                count,
                producer_id=producer,
                producer_epoch=0,
                sequence=first,
                transactional=rng.random() < 0.5,
            )
            end = log.end_offset
            log.append(*at(data, end, epoch))
            model.append((end, end + count - 1, epoch))
            sequences[producer] = first + count
        elif action < 0.9:
            cut = rng.randint(0, log.end_offset)
            log.truncate(cut)
            model = [entry for entry in model if entry[1] < cut]
        else:
            log = _open(disk, 400)
        assert _content(log) == model
        assert log.end_offset == (model[-1][1] + 1 if model else 0)
        for base, last, batch_epoch in model[-3:]:
            assert log.epochs.epoch_at(base) == log.epochs.epoch_at(last) == batch_epoch
        fresh = ProducerStates()
        for header, _ in log.batches(0, log.end_offset):
            fresh.on_batch(header)
        assert _state(fresh) == _state(log.producers)


def test_what_is_large_stays_in_its_file_until_it_is_sent(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path)
    log = Log(disk, "t-0", segment_bytes=10_000, flush_every_append=False, sent_from_file_bytes=500)
    for number in range(60):
        log.append(*at(batch(), number))
    for start in range(0, 60, 7):
        for most in (1, 400, 600, 3_000, 20_000):
            read, (sent, end) = log.read(start, 55, most), log.read_to_send(start, 55, most)
            assert end == read.end_offset
            assert isinstance(sent, StoredRecords) == (len(read.records) >= 500)
            assert len(sent) == len(read.records)
            assert (sent.read() if isinstance(sent, StoredRecords) else sent) == read.records
    assert log.read_to_send(60, 60, 1_000) == (b"", 60)
