"""Fetch, the hottest message of a broker, written without a generic codec in between.

Byte for byte what kio's writers make of the same values; a test holds the two against each other.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from systems.broker.fetching import Fetched
from systems.broker.follower import FetchPosition
from systems.broker.kio_writing import unsigned_varint
from systems.broker.log.stored import Records, StoredRecords
from systems.broker.wire import Encoded, Streamed

FETCH: Final = 1
FOLLOWER_VERSION: Final = 16
"""The version that our followers speak."""
FLEXIBLE_VERSION: Final = 12
TOPIC_IDS_VERSION: Final = 13

_INT32: Final = struct.Struct(">i")
_INT64_PAIR: Final = struct.Struct(">qq")
_STRING_LENGTH: Final = struct.Struct(">h")
_NO_TAGS: Final = b"\0"

# index, error code, high watermark, last stable offset, then log start offset from version 5 on
_PARTITION_4: Final = struct.Struct(">ihqq")
_PARTITION_5: Final = struct.Struct(">ihqqq")
# throttle time, error code, session id
_RESPONSE_7: Final = struct.Struct(">ihi")
# tag count 1, tag 0, size 13, epoch, end offset, no tags
_DIVERGING: Final = struct.Struct(">BBBiqB")
_NO_PREFERRED_REPLICA: Final = _INT32.pack(-1)

# index, leader epoch, fetch offset, last fetched epoch, log start offset, max bytes, no tags
_WANTED: Final = struct.Struct(">iiqiqiB")
# max wait, min bytes, max bytes, isolation, session id, session epoch
_REQUEST: Final = struct.Struct(">iiibii")
# no rack, tag count 1, tag 1, size 13, replica id, replica epoch, no tags
_REPLICA_STATE: Final = struct.Struct(">BBBBiqB")

Answer = tuple[int, int, Fetched | None]
"""Partition, error code, and what was read unless there was an error."""


def response(
    version: int, error_code: int, session_id: int, topics: Mapping[str | bytes, Sequence[Answer]]
) -> Encoded | Streamed:
    """A FetchResponse of any version from 4 to 17. A topic is its id, or before version 13 its name."""
    stored: list[tuple[int, StoredRecords]] = []
    flexible = version >= FLEXIBLE_VERSION
    out = bytearray(_RESPONSE_7.pack(0, error_code, session_id) if version >= 7 else _INT32.pack(0))
    out += _length(len(topics), flexible)
    for topic, answers in topics.items():
        out += topic if isinstance(topic, bytes) else _name(topic, flexible)
        out += _length(len(answers), flexible)
        for answer in answers:
            _partition(out, version, flexible, answer, stored)
        if flexible:
            out += _NO_TAGS
    if flexible:
        out += _NO_TAGS
    if not stored:
        return Encoded(FETCH, version, flexible, bytes(out))
    parts: list[Records] = []
    done = 0
    for place, records in stored:
        parts += [bytes(out[done:place]), records]
        done = place
    return Streamed(FETCH, version, flexible, (*parts, bytes(out[done:])))


def _partition(
    out: bytearray, version: int, flexible: bool, answer: Answer, stored: list[tuple[int, StoredRecords]]
) -> None:
    """`stored` takes what is in a file, and where it belongs."""
    partition, error_code, fetched = answer
    if fetched is None:
        high_watermark = last_stable_offset = log_start_offset = -1
        aborted, diverging = None, None
        records: Records = b""
    else:
        records, high_watermark, last_stable_offset, log_start_offset, diverging, aborted = fetched
    if version >= 5:
        out += _PARTITION_5.pack(partition, error_code, high_watermark, last_stable_offset, log_start_offset)
    else:
        out += _PARTITION_4.pack(partition, error_code, high_watermark, last_stable_offset)
    if aborted is None:
        out += _NO_TAGS if flexible else _INT32.pack(-1)
    else:
        out += _length(len(aborted), flexible)
        for one in aborted:
            out += _INT64_PAIR.pack(one.producer_id, one.first_offset)
            if flexible:
                out += _NO_TAGS
    if version >= 11:
        out += _NO_PREFERRED_REPLICA
    out += _length(len(records), flexible)
    if isinstance(records, StoredRecords):
        stored.append((len(out), records))
    else:
        out += records
    if flexible:
        if diverging is not None and diverging != (-1, -1):
            out += _DIVERGING.pack(1, 0, 13, diverging.epoch, diverging.end_offset, 0)
        else:
            out += _NO_TAGS


def follower_request(
    *,
    replica: int,
    broker_epoch: int,
    max_wait_ms: int,
    min_bytes: int,
    max_bytes: int,
    partition_max_bytes: int,
    session_id: int,
    session_epoch: int,
    wanted: Mapping[bytes, Sequence[tuple[int, FetchPosition, int]]],
    forgotten: Mapping[bytes, Sequence[int]],
) -> Encoded:
    """A FetchRequest of version 16. `wanted` holds for each topic id the partitions with position and log
    start offset."""
    out = bytearray(_REQUEST.pack(max_wait_ms, min_bytes, max_bytes, 0, session_id, session_epoch))
    out += unsigned_varint(len(wanted) + 1)
    for topic_id, partitions in wanted.items():
        out += topic_id
        out += unsigned_varint(len(partitions) + 1)
        for index, position, log_start_offset in partitions:
            epoch, fetch_offset, last_epoch = position
            out += _WANTED.pack(
                index, epoch, fetch_offset, last_epoch, log_start_offset, partition_max_bytes, 0
            )
        out += _NO_TAGS
    out += unsigned_varint(len(forgotten) + 1)
    for topic_id, indices in forgotten.items():
        out += topic_id
        out += unsigned_varint(len(indices) + 1)
        out += struct.pack(f">{len(indices)}i", *indices)
        out += _NO_TAGS
    out += _REPLICA_STATE.pack(1, 1, 1, 13, replica, broker_epoch, 0)
    return Encoded(FETCH, FOLLOWER_VERSION, True, bytes(out))


def _length(size: int, flexible: bool) -> bytes:
    """Of an array, or of bytes."""
    return unsigned_varint(size + 1) if flexible else _INT32.pack(size)


def _name(topic: str, flexible: bool) -> bytes:
    encoded = topic.encode()
    return (unsigned_varint(len(encoded) + 1) if flexible else _STRING_LENGTH.pack(len(encoded))) + encoded
