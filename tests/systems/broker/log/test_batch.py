from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from systems.broker.log.batch import (
    CorruptBatch,
    control_batch,
    next_sequence,
    parse,
    parse_marker,
    split,
    stamp,
    with_append_time,
)
from systems.broker.log.records import first_record_since
from tests.systems.broker.batches import batch


def _from_aiokafka(values: list[bytes], **fields: int | bool) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=bool(fields.get("transactional", False)),
        producer_id=int(fields.get("producer_id", -1)),
        producer_epoch=int(fields.get("producer_epoch", -1)),
        base_sequence=int(fields.get("sequence", -1)),
        batch_size=1 << 16,
    )
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=1000 + offset, key=None, value=value, headers=[])
    return bytes(builder.build())


def test_a_batch_of_another_make_is_understood() -> None:
    header = parse(_from_aiokafka([b"a", b"b"], producer_id=7, producer_epoch=1, sequence=5))
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 1, 5)
    assert (header.records, header.last_offset_delta, header.last_sequence) == (2, 1, 6)
    assert not header.is_transactional
    assert not header.is_control


def test_stamping_leaves_the_crc_right() -> None:
    stamped = stamp(_from_aiokafka([b"a", b"b"]), base_offset=41, leader_epoch=3)
    header = parse(stamped)
    assert (header.base_offset, header.last_offset, header.leader_epoch) == (41, 42, 3)
    read = DefaultRecordBatch(stamped)
    assert read.validate_crc()
    assert [(r.offset, r.value) for r in read] == [(41, b"a"), (42, b"b")]


def test_append_time_is_written_with_a_right_crc() -> None:
    changed = with_append_time(_from_aiokafka([b"a"]), 123456)
    assert parse(changed).max_timestamp == 123456
    read = DefaultRecordBatch(changed)
    assert read.validate_crc()
    assert [r.timestamp for r in read] == [123456]


@pytest.mark.parametrize("commit", [True, False])
def test_markers_are_what_other_clients_expect(commit: bool) -> None:
    marker = control_batch(
        producer_id=9, producer_epoch=2, coordinator_epoch=77, commit=commit, timestamp_ms=5
    )
    header = parse(marker)
    assert header.is_control
    assert header.is_transactional
    found = parse_marker(marker)
    assert found is not None
    assert (found.commit, found.coordinator_epoch) == (commit, 77)
    read = DefaultRecordBatch(marker)
    assert read.validate_crc()
    assert read.is_control_batch
    assert [r.key for r in read] == [b"\0\0\0\1" if commit else b"\0\0\0\0"]


def test_every_flipped_bit_behind_the_crc_is_noticed() -> None:
    good = batch(2)
    for position in range(21, len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x40
        with pytest.raises(CorruptBatch):
            split(bytes(bad))


def test_half_a_batch_is_corrupt_at_its_start() -> None:
    data = batch() + batch(3)
    with pytest.raises(CorruptBatch) as caught:
        split(data[:-1])
    assert caught.value.position == len(batch())
    assert [h.records for h, _ in split(data)] == [1, 3]


def test_sequences_wrap() -> None:
    assert next_sequence(0x7FFFFFFF) == 0
    assert parse(batch(2, producer_id=1, producer_epoch=0, sequence=0x7FFFFFFF)).last_sequence == 0


def test_the_first_record_since_a_timestamp() -> None:
    data = _from_aiokafka([b"a", b"b", b"c"])
    assert first_record_since(parse(data), data, 1001) == (1, 1001)
