"""Looking inside a batch: for a search by timestamp, for the keys of a compacted topic, and for its cleaner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from systems.broker.log.batch import HEADER_BYTES, BatchHeader
from systems.broker.log.compression import decompress


class BadRecords(Exception):
    """What stands behind a batch's header are not the records that it announces."""


class RawRecord(NamedTuple):
    """One record as it is encoded. `tail` is all that follows its timestamp delta."""

    offset: int
    timestamp_delta: int
    key: bytes | None
    has_value: bool
    attributes: int
    tail: bytes

    def encoded(self, timestamp_shift: int = 0) -> bytes:
        """With its length, its timestamp counted from a base that is so much earlier."""
        delta = encode_varint(self.timestamp_delta + timestamp_shift)
        body = bytes((self.attributes,)) + delta + self.tail
        return encode_varint(len(body)) + body


def records(header: BatchHeader, batch: bytes) -> Iterator[RawRecord]:
    """Those of one batch, decompressed. Raises `BadRecords` and `BadCompression`."""
    body = decompress(header.compression, batch[HEADER_BYTES:])
    position = 0
    for _ in range(header.records):
        try:
            record, position = _record(header.base_offset, body, position)
        except IndexError:
            raise BadRecords(f"offset {header.base_offset}: its records are cut short") from None
        yield record


def _record(base_offset: int, body: bytes, position: int) -> tuple[RawRecord, int]:
    size, start = _varint(body, position)
    end = start + size
    if size <= 0 or end > len(body):
        raise BadRecords(f"offset {base_offset}: a record of {size} bytes")
    timestamp_delta, after = _varint(body, start + 1)
    offset_delta, at = _varint(body, after)
    key_size, at = _varint(body, at)
    key = body[at : at + key_size] if key_size >= 0 else None
    value_size, _ = _varint(body, at + max(key_size, 0))
    record = RawRecord(
        base_offset + offset_delta, timestamp_delta, key, value_size >= 0, body[start], body[after:end]
    )
    return record, end


def first_record_since(header: BatchHeader, batch: bytes, timestamp_ms: int) -> tuple[int, int]:
    """(offset, timestamp) of the first record of the batch with at least that timestamp; of a compressed
    batch the first record's, which a consumer reads over."""
    if header.is_compressed or header.has_append_time:
        return header.base_offset, header.max_timestamp
    for record in records(header, batch):
        timestamp = header.base_timestamp + record.timestamp_delta
        if timestamp >= timestamp_ms:
            return record.offset, timestamp
    return header.base_offset, header.max_timestamp


def encode_varint(value: int) -> bytes:
    """Zig-zag."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A zig-zag varint and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
