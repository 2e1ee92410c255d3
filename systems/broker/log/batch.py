"""Record batches (v2) as opaque bytes: only the 61 bytes of the header are ever looked at.

The CRC covers everything from `attributes` on, so a leader can write base offset and leader epoch into a
batch without touching the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import crc32c

HEADER_BYTES = 61
MAGIC = 2
NO_PRODUCER_ID = -1
NO_SEQUENCE = -1

_HEADER = struct.Struct(">qiibIhiqqqhii")
_PREFIX = struct.Struct(">qii")
_LENGTH = struct.Struct(">i")
_CRC = struct.Struct(">I")
_CRC_COVERS_FROM = 21
_CRC_AT = 17
_ATTRIBUTES_AT = 21
_MAX_TIMESTAMP_AT = 35
_OVERHEAD = 12
"""Base offset and length: what the length does not count."""

_COMPRESSION = 0x07
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_DELETE_HORIZON = 0x40

_MAX_SEQUENCE = 0x7FFFFFFF


class CorruptBatch(Exception):
    """Bytes that are no whole v2 batch, or whose CRC is wrong. `position` is where the bad batch starts."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"at byte {position}: {reason}")
        self.position = position


class WrongChecksum(CorruptBatch):
    """A whole batch, but not the bytes that were written."""


class BatchHeader(NamedTuple):
    """The fields in the order of the wire."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def size(self) -> int:
        return self.length + _OVERHEAD

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """Sequences wrap at 2^31."""
        return (self.base_sequence + self.last_offset_delta) & _MAX_SEQUENCE

    @property
    def is_transactional(self) -> bool:
        return self.attributes & _TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & _CONTROL != 0

    @property
    def is_compressed(self) -> bool:
        return self.attributes & _COMPRESSION != 0

    @property
    def compression(self) -> int:
        """Kafka's number of the codec; 0 is none."""
        return self.attributes & _COMPRESSION

    @property
    def has_append_time(self) -> bool:
        return self.attributes & _LOG_APPEND_TIME != 0

    @property
    def delete_horizon_ms(self) -> int | None:
        """When its tombstones, or the marker that it is, may go (KIP-534); None where no cleaner has said."""
        return self.base_timestamp if self.attributes & _DELETE_HORIZON else None


def next_sequence(sequence: int) -> int:
    return (sequence + 1) & _MAX_SEQUENCE


def parse(data: bytes, position: int = 0, *, check_crc: bool = True) -> BatchHeader:
    """The header of the batch at `position`. Raises `CorruptBatch` where it is not whole or not right."""
    available = len(data) - position
    if available < HEADER_BYTES:
        raise CorruptBatch(position, f"{available} bytes are no batch header")
    header = BatchHeader._make(_HEADER.unpack_from(data, position))
    if header.magic != MAGIC:
        raise CorruptBatch(position, f"magic {header.magic}, expected {MAGIC}")
    if header.size < HEADER_BYTES or header.size > available:
        raise CorruptBatch(position, f"{available} bytes of a batch of {header.size}")
    if header.last_offset_delta < 0:
        raise CorruptBatch(position, f"last offset delta {header.last_offset_delta}")
    if check_crc and header.crc != _checksum(data, position, position + header.size):
        raise WrongChecksum(position, "the CRC does not match")
    return header


def claimed_end(data: bytes, position: int) -> int | None:
    """The offset behind the batch at `position` as its header says, whether the rest of it is there or not."""
    if len(data) - position < HEADER_BYTES:
        return None
    return BatchHeader._make(_HEADER.unpack_from(data, position)).last_offset + 1


def split(data: bytes, *, check_crc: bool = True) -> list[tuple[BatchHeader, bytes]]:
    """All batches of a record set. Raises `CorruptBatch`."""
    if data and len(data) >= _OVERHEAD and _LENGTH.unpack_from(data, 8)[0] + _OVERHEAD == len(data):
        return [(parse(data, check_crc=check_crc), data)]
    batches = []
    position = 0
    while position < len(data):
        header = parse(data, position, check_crc=check_crc)
        batches.append((header, data[position : position + header.size]))
        position += header.size
    return batches


def whole_batches(data: bytes) -> Iterator[tuple[BatchHeader, int]]:
    """(header, position) of each batch, without a look at CRCs: for bytes that were checked before."""
    position, end = 0, len(data)
    while end - position >= HEADER_BYTES:
        header = BatchHeader._make(_HEADER.unpack_from(data, position))
        if position + header.size > end:
            return
        yield header, position
        position += header.size


def stamp(batch: bytes, *, base_offset: int, leader_epoch: int) -> bytes:
    """The batch with its place in the log written into it, as the leader does."""
    (length,) = _LENGTH.unpack_from(batch, 8)
    return _PREFIX.pack(base_offset, length, leader_epoch) + batch[_PREFIX.size :]


def with_append_time(batch: bytes, timestamp_ms: int) -> bytes:
    """The batch under `message.timestamp.type=LogAppendTime`."""
    changed = bytearray(batch)
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES_AT)
    struct.pack_into(">h", changed, _ATTRIBUTES_AT, attributes | _LOG_APPEND_TIME)
    struct.pack_into(">q", changed, _MAX_TIMESTAMP_AT, timestamp_ms)
    _CRC.pack_into(changed, _CRC_AT, crc32c.crc32c(memoryview(changed)[_CRC_COVERS_FROM:]))
    return bytes(changed)


def control_batch(
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    commit: bool,
    timestamp_ms: int,
) -> bytes:
    """A transaction marker: one control record, whose key is (version 0, type) and whose value is
    (version 0, coordinator epoch)."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    value = struct.pack(">hi", 0, coordinator_epoch)
    # attributes, timestamp delta, offset delta (all 0), key, value, no headers; lengths are zig-zag varints.
    record = b"\0\0\0" + bytes((2 * len(key),)) + key + bytes((2 * len(value),)) + value + b"\0"
    body = bytes((2 * len(record),)) + record
    return seal(
        attributes=_TRANSACTIONAL | _CONTROL,
        count=1,
        base_timestamp=timestamp_ms,
        max_timestamp=timestamp_ms,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=NO_SEQUENCE,
        records=body,
    )


def seal(
    *,
    attributes: int,
    count: int,
    base_timestamp: int,
    max_timestamp: int,
    producer_id: int,
    producer_epoch: int,
    base_sequence: int,
    records: bytes,
) -> bytes:
    """A batch around encoded records, base offset 0, CRC included."""
    covered = (
        struct.pack(
            ">hiqqqhii",
            attributes,
            count - 1,
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            count,
        )
        + records
    )
    length = _CRC_COVERS_FROM - _OVERHEAD + len(covered)
    return struct.pack(">qiibI", 0, length, -1, MAGIC, crc32c.crc32c(covered)) + covered


def refilled(
    header: BatchHeader, *, count: int, records: bytes, max_timestamp: int, delete_horizon_ms: int | None
) -> bytes:
    """A cleaned batch: the same place, producer and sequences, but only `count` of its records (encoded, and
    compressed as the header says). With a delete horizon their timestamps are counted from it."""
    attributes, base_timestamp = header.attributes, header.base_timestamp
    if delete_horizon_ms is not None:
        attributes, base_timestamp = attributes | _DELETE_HORIZON, delete_horizon_ms
    if not count:
        # Nothing is nothing, and no codec's frame.
        attributes &= ~_COMPRESSION
    covered = (
        struct.pack(
            ">hiqqqhii",
            attributes,
            header.last_offset_delta,
            base_timestamp,
            max_timestamp,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            count,
        )
        + records
    )
    length = _CRC_COVERS_FROM - _OVERHEAD + len(covered)
    place = struct.pack(">qiib", header.base_offset, length, header.leader_epoch, MAGIC)
    return place + _CRC.pack(crc32c.crc32c(covered)) + covered


class Marker(NamedTuple):
    commit: bool
    coordinator_epoch: int


def parse_marker(batch: bytes) -> Marker | None:
    """The transaction marker in a control batch; None for other control records."""
    # Length, attributes, offset delta and key length are one byte each in what we and Kafka write; the
    # timestamp delta is longer once a cleaner has put a delete horizon into the batch.
    key_at = HEADER_BYTES + 5
    while batch[key_at - 3] & 0x80:
        key_at += 1
    _, kind = struct.unpack_from(">hh", batch, key_at)
    if kind not in (0, 1):
        return None
    _, coordinator_epoch = struct.unpack_from(">hi", batch, key_at + 5)
    return Marker(kind == 1, coordinator_epoch)


def _checksum(data: bytes, start: int, end: int) -> int:
    return int(crc32c.crc32c(memoryview(data)[start + _CRC_COVERS_FROM : end]))
