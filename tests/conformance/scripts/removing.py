"""DeleteRecords, and readers of a log that does not begin at 0 (semantics 2.6)."""

from __future__ import annotations

from ..batches import batch
from ..requests import EARLIEST, LATEST, delete_records, epoch_end, fetch, list_offsets, produce
from ..session import Answer, Session


async def _five_records(kafka: Session) -> str:
    """Offsets 0-1, 2-3 and 4 in three batches."""
    topic = await kafka.create_topic("t")
    for values in (("a", "b"), ("c", "d"), ("e",)):
        await produce(kafka, topic, batch(*values))
    return topic


async def the_first_records(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    return {
        "removed": await delete_records(kafka, topic, 3),
        "earliest": await list_offsets(kafka, topic, EARLIEST),
        "latest": await list_offsets(kafka, topic, LATEST),
        "below the start": await fetch(kafka, topic, 0),
        "inside the first batch that is left": await fetch(kafka, topic, 3),
        "the end of the epoch": await epoch_end(kafka, topic, 0),
        "again": await delete_records(kafka, topic, 3),
        "less": await delete_records(kafka, topic, 1),
        "goes on": await produce(kafka, topic, batch("f")),
    }


async def everything(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    return {
        "removed": await delete_records(kafka, topic, -1),
        "earliest": await list_offsets(kafka, topic, EARLIEST),
        "latest": await list_offsets(kafka, topic, LATEST),
        "the last one": await fetch(kafka, topic, 4),
        "the end": await fetch(kafka, topic, 5),
        "goes on": await produce(kafka, topic, batch("f")),
        "read": await fetch(kafka, topic, 5),
    }


async def what_is_not_there(kafka: Session) -> Answer:
    topic = await _five_records(kafka)
    return {
        "beyond the end": await delete_records(kafka, topic, 6),
        "negative": await delete_records(kafka, topic, -2),
        "no such partition": await delete_records(kafka, topic, 0, partition=99),
        "nothing": await delete_records(kafka, topic, 0),
        "earliest": await list_offsets(kafka, topic, EARLIEST),
    }
