"""Record batches for tests, one short record per offset."""

from __future__ import annotations

from systems.broker.log.batch import BatchHeader, parse, seal, stamp


def batch(
    count: int = 1,
    *,
    producer_id: int = -1,
    producer_epoch: int = -1,
    sequence: int = -1,
    transactional: bool = False,
    timestamp: int = 1_700_000_000_000,
    value: bytes = b"v",
) -> bytes:
    """As a producer sends it: base offset 0, no leader epoch."""
    return seal(
        attributes=0x10 if transactional else 0,
        count=count,
        base_timestamp=timestamp,
        max_timestamp=timestamp,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=sequence,
        records=b"".join(_record(i, value) for i in range(count)),
    )


def at(data: bytes, offset: int, epoch: int = 0) -> tuple[BatchHeader, bytes]:
    """Stamped with its place, ready for `Log.append`."""
    stamped = stamp(data, base_offset=offset, leader_epoch=epoch)
    return parse(stamped), stamped


def _record(offset_delta: int, value: bytes) -> bytes:
    # attributes, timestamp delta, offset delta, null key, value, no headers
    body = b"\0\0" + _varint(offset_delta) + b"\x01" + _varint(len(value)) + value + b"\0"
    return _varint(len(body)) + body


def _varint(value: int) -> bytes:
    encoded = (value << 1) ^ (value >> 63)
    out = bytearray()
    while encoded >= 0x80:
        out.append(encoded & 0x7F | 0x80)
        encoded >>= 7
    out.append(encoded)
    return bytes(out)
