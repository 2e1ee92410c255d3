"""The one place that looks inside a batch: a search by timestamp."""

from __future__ import annotations

from systems.broker.log.batch import HEADER_BYTES, BatchHeader


def first_record_since(header: BatchHeader, batch: bytes, timestamp_ms: int) -> tuple[int, int]:
    """(offset, timestamp) of the first record of the batch with at least that timestamp; of a compressed
    batch the first record's, which a consumer reads over."""
    if header.is_compressed:
        return header.base_offset, header.max_timestamp
    position = HEADER_BYTES
    for _ in range(header.records):
        size, position = _varint(batch, position)
        end = position + size
        timestamp_delta, after = _varint(batch, position + 1)
        offset_delta, _ = _varint(batch, after)
        if header.base_timestamp + timestamp_delta >= timestamp_ms:
            return header.base_offset + offset_delta, header.base_timestamp + timestamp_delta
        position = end
    return header.base_offset, header.max_timestamp


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
