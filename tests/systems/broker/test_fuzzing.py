"""Requests that no client sends: the decoder says what is wrong with them, and a broker lives on.

`CHAOS_FUZZ_SECONDS=600 pytest tests/systems/broker/test_fuzzing.py` runs the decoder for so long.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systems.broker.wire import Request, WireError, decode_body, decode_header, decode_request
from tests.systems.broker.requests_of_every_kind import mutated, request_frame, served
from tests.systems.kafka.simulated import Simulated, simulate

SERVED = [(key, version) for key, versions in sorted(served().items()) for version in versions]
MEMORY_PER_FRAME = 4 << 20
"""Far above what the largest of these frames needs, far below what a length it names would take."""
FUZZ_SECONDS = float(os.environ.get("CHAOS_FUZZ_SECONDS", "5"))
FRAMES_A_BROKER = 600


def decoded(frame: bytes) -> Request | None:
    try:
        return decode_request(frame)
    except WireError:
        return None


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 1 << 62), place=st.integers(0, len(SERVED) - 1), body=st.binary(max_size=80))
def test_any_bytes_behind_a_header_are_a_request_or_an_error(seed: int, place: int, body: bytes) -> None:
    api_key, version = SERVED[place]
    decoded(struct.pack(">hhih", api_key, version, 1, -1) + body)
    decoded(mutated(random.Random(seed), request_frame(random.Random(seed), api_key, version)))


@pytest.mark.parametrize(("api_key", "version"), SERVED)
def test_every_well_formed_request_is_taken(api_key: int, version: int) -> None:
    rng = random.Random(1)
    for _ in range(20):
        frame = request_frame(rng, api_key, version)
        header = decode_header(frame)
        assert decode_body(frame, header).api_key == api_key


def test_an_array_is_not_as_long_as_it_says() -> None:
    """Once: kio made room for two billion elements, and the process was no more."""
    frame = struct.pack(">hhihi", 20, 1, 1, -1, 0x7FFFFFFF)
    with pytest.raises(WireError, match="2147483647 elements in 0 bytes"):
        decode_request(frame)


def test_an_array_inside_one_that_may_be_null_is_not() -> None:
    """OffsetFetch may leave its topics out, but not the partitions of a topic."""
    with pytest.raises(WireError, match="without its partition_indexes"):
        decode_request(
            struct.pack(">hhih", 9, 5, 1, -1) + b"\0\1g" + struct.pack(">i", 1) + b"\0\1t" + b"\xff" * 4
        )


@pytest.mark.timeout(FUZZ_SECONDS * 2 + 60)
def test_no_request_takes_more_memory_than_it_has_bytes_for() -> None:
    seed = int.from_bytes(os.urandom(6)) if "CHAOS_FUZZ_SECONDS" in os.environ else 1
    rng = random.Random(seed)
    for api_key, version in SERVED:
        # What a version's codec takes once is no request's.
        decoded(request_frame(rng, api_key, version))
    until = time.monotonic() + FUZZ_SECONDS
    tracemalloc.start()
    try:
        while time.monotonic() < until:
            api_key, version = rng.choice(SERVED)
            frame = mutated(rng, request_frame(rng, api_key, version))
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            decoded(frame)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < MEMORY_PER_FRAME, (seed, frame.hex())
    finally:
        tracemalloc.stop()


def test_a_broker_answers_hangs_up_and_lives() -> None:
    """What it answers does not matter; that no handler breaks, and that everybody else is served as before, does."""

    async def scenario(running: Simulated) -> list[dict[str, Any]]:
        await running.on("k2", _shower(running))
        await running.on("k3", _produces(running))
        return running.events("internal-error")

    assert simulate(scenario) == []


async def _shower(running: Simulated) -> None:
    rng = random.Random(7)
    for _ in range(FRAMES_A_BROKER):
        api_key, version = rng.choice(SERVED)
        frame = request_frame(rng, api_key, version)
        if rng.random() < 0.4:
            frame = mutated(rng, frame)
        address = running.cluster.address(rng.choice(("b1", "b2", "b3")), client="k2")
        reader, writer = await asyncio.open_connection(*address)
        writer.write(struct.pack(">i", len(frame)) + frame)
        try:
            async with asyncio.timeout(0.5):
                await reader.read(4)
        except (TimeoutError, ConnectionError):
            pass
        writer.close()


async def _produces(running: Simulated) -> None:
    log = running.log("k3")
    await log.create_topic("after", partitions=1, replication_factor=3)
    producer = log.producer()
    await producer.start()
    await producer.send("after", b"v", partition=0)
    await producer.close()
