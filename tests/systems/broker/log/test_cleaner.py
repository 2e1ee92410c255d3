"""The log cleaner against a table: what a reader from the beginning sees is what was written last (semantics 2.6)."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systems.broker.log.batch import BatchHeader, control_batch, parse_marker, seal
from systems.broker.log.cleaner import Cleaner, CompactionLimits
from systems.broker.log.compression import compress
from systems.broker.log.log import Log
from systems.broker.log.records import RawRecord, encode_varint, records
from tests.systems.broker.batches import at
from tests.systems.broker.memory_environment import MemoryDisk

T0 = 1_700_000_000_000
SEGMENT_BYTES = 400
EAGER = CompactionLimits(min_dirty_ratio=0.0, delete_retention_ms=1000)


def open_log(disk: MemoryDisk, segment_bytes: int = SEGMENT_BYTES) -> Log:
    return Log(disk, "t-0", segment_bytes=segment_bytes, flush_every_append=False)


def batch_of(
    *pairs: tuple[str, str | None],
    producer_id: int = -1,
    sequence: int = -1,
    transactional: bool = False,
    codec: int = 0,
    timestamp: int = T0,
) -> bytes:
    body = b"".join(_record(i, key, value) for i, (key, value) in enumerate(pairs))
    return seal(
        attributes=codec | (0x10 if transactional else 0),
        count=len(pairs),
        base_timestamp=timestamp,
        max_timestamp=timestamp,
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 else -1,
        base_sequence=sequence,
        records=compress(codec, body),
    )


def _record(delta: int, key: str, value: str | None) -> bytes:
    coded = encode_varint(-1) if value is None else encode_varint(len(value)) + value.encode()
    tail = encode_varint(delta) + encode_varint(len(key)) + key.encode() + coded + b"\0"
    return RawRecord(delta, 0, key.encode(), value is not None, 0, tail).encoded()


def marker(producer_id: int, *, commit: bool) -> bytes:
    return control_batch(
        producer_id=producer_id, producer_epoch=0, coordinator_epoch=0, commit=commit, timestamp_ms=T0
    )


def put(log: Log, *data: bytes, epoch: int = 0) -> None:
    for one in data:
        log.append(*at(one, log.end_offset, epoch))


def clean(disk: MemoryDisk, log: Log, now_ms: int = T0, bugs: frozenset[str] = frozenset()) -> bool:
    """One pass where it is worth one."""
    cleaner = Cleaner(disk, log, SEGMENT_BYTES, bugs)
    segments = cleaner.cleanable(EAGER, now_ms, log.end_offset)
    return bool(segments) and asyncio.run(cleaner.run(segments, EAGER, now_ms)) is not None


def roll(log: Log) -> None:
    """Closes the segment, so that all that was written can be cleaned."""
    log.roll_if_older(-1, 1 << 60)


def kept(log: Log) -> list[tuple[int, str, bool]]:
    """(offset, key, has a value) of every record."""
    return [
        (r.offset, (r.key or b"").decode(), r.has_value)
        for header, batch in log.batches(log.start_offset, log.end_offset)
        if not header.is_control
        for r in records(header, batch)
    ]


def markers(log: Log) -> list[tuple[int, bool]]:
    found = []
    for header, batch in log.batches(log.start_offset, log.end_offset):
        told = parse_marker(batch) if header.is_control else None
        if told is not None:
            found.append((header.base_offset, told.commit))
    return found


@pytest.mark.parametrize("codec", range(5))
def test_the_last_record_of_each_key_stays_at_its_offset(codec: int) -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    put(log, *(batch_of(("a", "1"), ("b", "2"), codec=codec), batch_of(("a", "3"), ("c", "4"), codec=codec)))
    roll(log)
    assert clean(disk, log)
    assert kept(log) == [(1, "b", True), (2, "a", True), (3, "c", True)]
    again = open_log(disk)
    assert kept(again) == kept(log)
    assert (again.end_offset, again.cleaned) == (4, log.cleaned)


def test_a_tombstone_goes_only_after_its_horizon() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    put(log, batch_of(("a", "1")), batch_of(("b", "1")), batch_of(("a", None)), batch_of(("z", "1")))
    roll(log)
    assert clean(disk, log)
    assert kept(log) == [(1, "b", True), (2, "a", False), (3, "z", True)]
    assert not clean(disk, log, T0 + 999), "nothing is due"
    log = open_log(disk)
    roll(log)
    assert clean(disk, log, T0 + 1000), "the horizon is known after a restart"
    assert kept(log) == [(1, "b", True), (3, "z", True)]
    assert not clean(disk, log, T0 + 100_000)


def test_aborted_records_go_and_evict_nothing_their_marker_goes_later() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    put(
        log,
        batch_of(("a", "1")),
        batch_of(("a", "2"), producer_id=7, sequence=0, transactional=True),
        marker(7, commit=False),
        batch_of(("b", "1"), producer_id=7, sequence=1, transactional=True),
        marker(7, commit=True),
        batch_of(("z", "1")),
    )
    roll(log)
    assert clean(disk, log)
    assert kept(log) == [(0, "a", True), (3, "b", True), (5, "z", True)]
    assert markers(log) == [(2, False), (4, True)], "one pass longer than the records"
    put(log, batch_of(("z", "2")))
    roll(log)
    assert clean(disk, log), "the abort marker gets its horizon"
    assert markers(log) == [(2, False), (4, True)]
    assert clean(disk, log, T0 + 1000)
    assert markers(log) == [(4, True)]
    assert _fetched_as_committed(open_log(disk)) == {"a": 0, "b": 3, "z": 6}


def test_nothing_of_an_open_transaction_is_touched() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    put(log, batch_of(("a", "1")))
    roll(log)
    put(log, batch_of(("a", "2"), producer_id=7, sequence=0, transactional=True))
    roll(log)
    put(log, batch_of(("a", "3")))
    roll(log)
    clean(disk, log)
    assert [offset for offset, _, _ in kept(log)] == [0, 1, 2]
    assert log.cleaned.clean_until == 1


def test_the_last_batch_of_a_producer_stays_empty() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    put(log, batch_of(("a", "1"), ("a", "2"), producer_id=7, sequence=0), batch_of(("a", "3")))
    put(log, batch_of(("z", "1")))
    roll(log)
    assert clean(disk, log)
    assert kept(log) == [(2, "a", True), (3, "z", True)]
    known = open_log(disk).producers.entry(7)
    assert known is not None and known.last_sequence == 1, "its next batch is recognised"


def test_leader_epochs_outlive_their_batches() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    for epoch in range(6):
        put(log, batch_of(("a", str(epoch))), epoch=epoch)
        roll(log)
    put(log, batch_of(("z", "1")), epoch=6)
    assert clean(disk, log)
    before = log.epochs.entries()
    assert len(before) == 7
    assert open_log(disk).epochs.entries() == before


def test_a_log_that_is_cut_forgets_how_clean_it_was() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    for number in range(40):
        put(log, batch_of((f"k{number % 3}", str(number))))
    assert clean(disk, log)
    log.truncate(5)
    assert log.cleaned.clean_until == 0
    for _ in range(40):
        put(log, batch_of(("other", "x")), epoch=3)
    again = open_log(disk)
    assert again.epochs.entries() == log.epochs.entries()


def _fetched_as_committed(log: Log) -> dict[str, int]:
    """What a read_committed consumer from the beginning has in its view: key -> offset of its value."""
    view: dict[str, int] = {}
    aborting: dict[int, None] = {}
    coming = sorted(log.producers.aborted_in(0, log.end_offset), key=lambda a: a.first_offset)
    end = log.producers.last_stable_offset(log.end_offset)
    for header, batch in log.batches(0, end):
        while coming and coming[0].first_offset <= header.last_offset:
            aborting[coming.pop(0).producer_id] = None
        if header.is_control:
            told = parse_marker(batch)
            if told is not None and not told.commit:
                aborting.pop(header.producer_id, None)
        elif not (header.is_transactional and header.producer_id in aborting):
            _follow(view, header, batch)
    return view


def _follow(view: dict[str, int], header: BatchHeader, batch: bytes) -> None:
    for record in records(header, batch):
        key = (record.key or b"").decode()
        if record.has_value:
            view[key] = record.offset
        else:
            view.pop(key, None)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 1 << 30))
def test_a_view_from_the_beginning_is_never_wrong(seed: int) -> None:
    """Writes, deletes, transactions, passes, truncations, crashes within a pass and restarts in any order: whoever
    reads from the beginning has the table that an uncleaned log gives, and nothing hides that did not before."""
    rng = random.Random(seed)
    disk, plain = MemoryDisk(), MemoryDisk()
    log, model = open_log(disk), open_log(plain, 1 << 30)
    now, epoch = T0, 0
    sequences: dict[int, int] = {}
    opened: dict[int, int] = {}
    for _ in range(rng.randint(5, 80)):
        action = rng.random()
        if action < 0.6:
            epoch += rng.random() < 0.1
            pairs = [
                (rng.choice("abcd"), None if rng.random() < 0.2 else "x" * rng.randint(1, 20))
                for _ in range(rng.randint(1, 3))
            ]
            producer = rng.choice((-1, -1, 1, 2, 3))
            codec = rng.choice((0, 0, 0, 4))
            if producer < 0:
                data = batch_of(*pairs, codec=codec)
            else:
                first = sequences.get(producer, 0)
                sequences[producer] = first + len(pairs)
                data = batch_of(
                    *pairs, producer_id=producer, sequence=first, transactional=producer > 1, codec=codec
                )
                if producer > 1:
                    opened[producer] = 1
            put(log, data, epoch=epoch)
            put(model, data, epoch=epoch)
        elif action < 0.75 and opened:
            producer, _ = opened.popitem()
            data = marker(producer, commit=rng.random() < 0.5)
            put(log, data, epoch=epoch)
            put(model, data, epoch=epoch)
        elif action < 0.9:
            now += rng.choice((0, 500, 2000))
            clean(disk, log, now)
        elif action < 0.95:
            _crash_in_a_pass(disk, log, now, rng)
            log = open_log(disk)
        else:
            log = open_log(disk)
        assert log.end_offset == model.end_offset
        assert _fetched_as_committed(log) == _fetched_as_committed(model)
        assert log.producers.last_stable_offset(log.end_offset) == model.producers.last_stable_offset(
            model.end_offset
        )
        assert log.epochs.entries() == model.epochs.entries()
        for producer, entry in model.producers.entries().items():
            known = log.producers.entry(producer)
            assert known is not None and known.last_sequence == entry.last_sequence


class _Crash(Exception):
    pass


class _DyingDisk(MemoryDisk):
    """The same files, until so many changes were made."""

    def __init__(self, files: dict[str, bytearray], changes: int) -> None:
        super().__init__()
        self.files = files
        self._left = changes

    def _change(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _Crash

    def append(self, name: str, data: bytes) -> int:
        self._change()
        return super().append(name, data)

    def rename(self, source: str, target: str) -> None:
        self._change()
        super().rename(source, target)

    def remove(self, name: str) -> None:
        self._change()
        super().remove(name)


def _crash_in_a_pass(disk: MemoryDisk, log: Log, now: int, rng: random.Random) -> None:
    dying = _DyingDisk(disk.files, rng.randint(0, 12))
    try:
        clean(dying, open_log(dying), now)
    except _Crash:
        pass
