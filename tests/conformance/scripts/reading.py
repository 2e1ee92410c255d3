"""Fetch, ListOffsets and OffsetForLeaderEpoch of a consumer (semantics 2.1)."""

from __future__ import annotations

import asyncio
import uuid

from ..batches import FIRST_TIMESTAMP_MS, batch
from ..requests import (
    EARLIEST,
    LATEST,
    MAX_TIMESTAMP,
    READ_COMMITTED,
    epoch_end,
    fetch,
    fetch_by_id,
    list_offsets,
    produce,
    topic_id,
)
from ..session import Answer, Session


async def _five_records(kafka: Session) -> str:
    """Offsets 0-1, 2-3 and 4 in three batches; timestamps a second apart."""
    topic = await kafka.create_topic("t")
    await produce(kafka, topic, batch("a", "b"))
    await produce(kafka, topic, batch("c", "d", timestamp_ms=FIRST_TIMESTAMP_MS + 2000))
    await produce(kafka, topic, batch("e", timestamp_ms=FIRST_TIMESTAMP_MS + 4000))
    return topic


async def places_in_the_log(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    return {
        "start": await fetch(kafka, topic, 0),
        "inside a batch": await fetch(kafka, topic, 3),
        "end": await fetch(kafka, topic, 5),
        "beyond the end": await fetch(kafka, topic, 6),
        "before the start": await fetch(kafka, topic, -3),
        "one byte": await fetch(kafka, topic, 2, partition_max_bytes=1),
    }


async def an_empty_log(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    return {
        "start": await fetch(kafka, topic, 0),
        "beyond": await fetch(kafka, topic, 1),
        "latest": await list_offsets(kafka, topic, LATEST),
        "earliest": await list_offsets(kafka, topic, EARLIEST),
        "max timestamp": await list_offsets(kafka, topic, MAX_TIMESTAMP),
        "time": await list_offsets(kafka, topic, FIRST_TIMESTAMP_MS),
    }


async def leader_epochs(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    epoch = await kafka.leader_epoch(topic)
    return {
        "the leader's": await fetch(kafka, topic, 4, leader_epoch=epoch),
        "newer": await fetch(kafka, topic, 4, leader_epoch=epoch + 1),
        "older": await fetch(kafka, topic, 4, leader_epoch=epoch - 1) if epoch else None,
        "last fetched": await fetch(kafka, topic, 4, leader_epoch=epoch, last_fetched_epoch=epoch),
        "last fetched, newer": await fetch(kafka, topic, 4, leader_epoch=epoch, last_fetched_epoch=epoch + 1),
        "offsets, the leader's": await list_offsets(kafka, topic, LATEST, leader_epoch=epoch),
        "offsets, newer": await list_offsets(kafka, topic, LATEST, leader_epoch=epoch + 1),
        "end of the leader's": await epoch_end(kafka, topic, epoch),
        "end of a newer one": await epoch_end(kafka, topic, epoch + 1),
        "end, the leader's epoch given": await epoch_end(kafka, topic, epoch, current_epoch=epoch),
        "end, a newer epoch given": await epoch_end(kafka, topic, epoch, current_epoch=epoch + 1),
    }


async def nothing_there(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    leader = await kafka.leader(topic)
    nothing = kafka.own("nothing")
    return {
        "unknown partition": await fetch(kafka, topic, 0, partition=7, node=leader),
        "unknown topic": await fetch(kafka, nothing, 0, node=leader),
        "offset of an unknown partition": await list_offsets(kafka, topic, LATEST, partition=7, node=leader),
        "offset of an unknown topic": await list_offsets(kafka, nothing, LATEST, node=leader),
    }


async def topics_by_id(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    leader = await kafka.leader(topic)
    return {
        "known": await fetch_by_id(kafka, await topic_id(kafka, topic), 4, node=leader),
        "unknown": await fetch_by_id(kafka, uuid.UUID(int=12345), 0, node=leader),
        "zero": await fetch_by_id(kafka, uuid.UUID(int=0), 0, node=leader),
    }


async def offsets_of_a_follower(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    return {"latest": await list_offsets(kafka, topic, LATEST, node=await kafka.follower(topic))}


async def offsets_by_kind(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    return {
        "latest": await list_offsets(kafka, topic, LATEST),
        "latest, read committed": await list_offsets(kafka, topic, LATEST, isolation=READ_COMMITTED),
        "latest, version 1": await list_offsets(kafka, topic, LATEST, version=1),
        "earliest": await list_offsets(kafka, topic, EARLIEST),
        "max timestamp": await list_offsets(kafka, topic, MAX_TIMESTAMP),
        "a kind that does not exist": await list_offsets(kafka, topic, -77),
    }


async def offsets_by_time(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    return {
        label: await list_offsets(kafka, topic, FIRST_TIMESTAMP_MS + milliseconds)
        for label, milliseconds in {
            "before the first": -5000,
            "the first": 0,
            "between": 1500,
            "inside a batch": 3000,
            "the last": 4000,
            "after the last": 4001,
        }.items()
    }


async def waiting_for_records(kafka: Session) -> Answer:
    """A fetch at the end is held until there is something, or its time is over."""
    topic = await kafka.create_topic("t")
    loop = asyncio.get_running_loop()
    began = loop.time()
    empty = await fetch(kafka, topic, 0, max_wait_ms=400)
    waited = loop.time() - began
    began = loop.time()
    held = asyncio.ensure_future(fetch(kafka, topic, 0, max_wait_ms=10_000, lane="held"))
    await asyncio.sleep(0.2)
    await produce(kafka, topic, batch("a"))
    return {
        "nothing": empty,
        "waited": waited >= 0.39,
        "something": await held,
        "at once": loop.time() - began < 5,
    }


async def sessions(kafka: Session) -> Answer:
    """A server may decline a session, but must know which ones it gave (KIP-227)."""
    topic = await _five_records(kafka)
    return {
        "a new one": await fetch(kafka, topic, 4, session=(0, 0)),
        "unknown": await fetch(kafka, topic, 4, session=(4711, 1)),
        "closing an unknown one": await fetch(kafka, topic, 4, session=(4711, -1)),
    }
