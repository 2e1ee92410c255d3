"""What a cluster with `transaction.version=1` says to requests of clients that could do more."""

from __future__ import annotations

from ..requests import add_partitions
from ..session import Answer, Session
from ..transaction_steps import end, init, send, stable
from . import metadata


async def adding_by_producing(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, drawn = await init(kafka, version=5)
    return {
        "drawn": drawn,
        "send without adding": await send(kafka, topic, "a", producer, 0, version=12),
        "add": await add_partitions(kafka, kafka.own("x"), producer, {topic: [0]}),
        "send": await send(kafka, topic, "a", producer, 0, version=12),
        "end, version 5": (await end(kafka, producer, commit=True, version=5))[1],
        "log": await stable(kafka, topic),
    }


async def features(kafka: Session) -> Answer:
    return await metadata.features(kafka)
