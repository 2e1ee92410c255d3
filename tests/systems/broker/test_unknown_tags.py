"""Requests of clients that are newer than we are: tagged fields that nobody here has heard of."""

from __future__ import annotations

import random
from typing import Any

import pytest
from kio.index import load_request_schema

from systems.broker import messages
from systems.broker.array_lengths import Step, struct_walk, unsigned_varint
from systems.broker.wire import WireError, decode_body, decode_header, decode_request, encode_request
from tests.systems.broker.requests_of_every_kind import request_frame, served

NEWER = b"\x63\x03new"
"""Tag 99 and three bytes."""
FLEXIBLE = [
    (key, version)
    for key, versions in sorted(served().items())
    for version in versions
    if load_request_schema(key, version).__flexible__
]
DESCRIBE_CLUSTER, FETCH = 60, 1


def of_a_newer_client(frame: bytes) -> bytes:
    """The same request with an unknown tag in every struct of it."""
    api_key, version, _, _, position = decode_header(frame)
    position += 1
    added: list[tuple[int, int]] = []

    def noting(_: Any) -> Step:
        def step(message: bytes, at: int) -> int:
            count, end = unsigned_varint(message, at)
            for _ in range(count):
                _, end = unsigned_varint(message, end)
                size, end = unsigned_varint(message, end)
                end += size
            added.append((at, end))
            return end

        return step

    struct_walk(load_request_schema(api_key, version), noting)(frame, position)
    out, done = bytearray(), 0
    for at, end in added:
        out += frame[done:at] + bytes((frame[at] + 1,)) + frame[at + 1 : end] + NEWER
        done = end
    return bytes(out + frame[done:])


@pytest.mark.parametrize(("api_key", "version"), FLEXIBLE)
def test_what_a_newer_client_adds_is_skipped(api_key: int, version: int) -> None:
    rng = random.Random(1)
    for _ in range(10):
        frame = request_frame(rng, api_key, version)
        newer = of_a_newer_client(frame)
        assert len(newer) > len(frame)
        assert decode_body(newer, decode_header(newer)) == decode_body(frame, decode_header(frame))


def test_inside_a_tagged_field_too() -> None:
    fields = {
        "replica_state": {"replica_id": 3, "replica_epoch": 7},
        "topics": [],
        "forgotten_topics_data": [],
    }
    fetch = messages.request(
        FETCH,
        15,
        **fields,
        max_wait=messages.milliseconds(1),
        min_bytes=1,
        rack_id="",
    )
    frame = encode_request(fetch, 1, None)[4:]
    # tag 1, 13 bytes: the state, of which the last byte says that it has no tags.
    assert frame[-16:-13] == b"\1\1\x0d"
    newer = frame[:-16] + b"\1\1\x12" + frame[-13:-1] + b"\1" + NEWER
    assert decode_request(newer).payload == fetch


def test_a_tag_that_is_longer_than_the_request_is_an_error() -> None:
    describe = messages.request(DESCRIBE_CLUSTER, 0, include_cluster_authorized_operations=True)
    frame = encode_request(describe, 1, None)[4:]
    with pytest.raises(WireError):
        decode_request(frame[:-1] + b"\1\x63\x7fnew")
