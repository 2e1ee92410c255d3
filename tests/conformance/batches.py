"""Record batches built and read with kio's own codec, so that the broker's code is not its own judge."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from kio.records.readers import read_batch
from kio.records.schema import NewRecordBatch, Record
from kio.records.writers import write_batch
from kio.static.primitive import TZAwareMicros, i8, i16, i32, i64

FIRST_TIMESTAMP_MS = 1_700_000_000_000
"""Of a batch's first record; each further one is a second later."""
TRANSACTIONAL = 0x10
CONTROL = 0x20


class Producer(NamedTuple):
    """Who a batch says that it comes from; `NOBODY` is a producer without idempotence."""

    id: int
    epoch: int


NOBODY = Producer(-1, -1)


def batch(
    *values: str,
    producer: Producer = NOBODY,
    sequence: int = -1,
    transactional: bool = False,
    attributes: int = 0,
    timestamp_ms: int = FIRST_TIMESTAMP_MS,
) -> bytes:
    """One batch with a record for each value."""
    start = datetime.fromtimestamp(timestamp_ms // 1000, UTC)
    records = tuple(
        Record(
            attributes=i8(0),
            timestamp=TZAwareMicros.parse(start + timedelta(seconds=index)),
            offset=i64(index),
            key=None,
            value=value.encode(),
            headers=(),
        )
        for index, value in enumerate(values)
    )
    buffer = io.BytesIO()
    write_batch(
        buffer,
        NewRecordBatch(
            producer_id=i64(producer.id),
            producer_epoch=i16(producer.epoch),
            partition_leader_epoch=i32(-1),
            base_sequence=i32(sequence),
            records=records,
            attributes=i16(attributes | (TRANSACTIONAL if transactional else 0)),
        ),
    )
    return buffer.getvalue()


def read(records: bytes) -> list[dict[str, Any]]:
    """What is in a fetch response's records, one entry a batch."""
    batches = []
    position = 0
    while position < len(records):
        found, size = read_batch(records, position)
        position += size
        entry: dict[str, Any] = {"offset": found.base_offset}
        if found.producer_id >= 0:
            entry |= {"producer_id": found.producer_id, "epoch": found.producer_epoch}
        if found.attributes & CONTROL:
            # The key is (version, type), type 1 is a commit.
            key = found.records[0].key or b""
            entry["marker"] = "commit" if key[2:4] == b"\0\1" else "abort"
        else:
            if found.base_sequence >= 0:
                entry["sequence"] = found.base_sequence
            entry["values"] = [(record.value or b"").decode() for record in found.records]
        batches.append(entry)
    return batches
