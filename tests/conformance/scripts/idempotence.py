"""Idempotent produce (semantics 2.3): what a leader says to retries, gaps, old epochs and unknown producers."""

from __future__ import annotations

from ..batches import Producer, batch
from ..requests import fetch, init_producer_id, produce
from ..session import Answer, Session


async def retry_of_a_batch(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, drawn = await init_producer_id(kafka)
    first, second = batch("a", "b", producer=producer, sequence=0), batch("c", producer=producer, sequence=2)
    return {
        "drawn": drawn,
        "first": await produce(kafka, topic, first),
        "second": await produce(kafka, topic, second),
        "first again": await produce(kafka, topic, first),
        "second again": await produce(kafka, topic, second),
        "log": await fetch(kafka, topic, 0),
    }


async def every_producer_has_its_own_sequence(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    one, drawn_one = await init_producer_id(kafka)
    two, drawn_two = await init_producer_id(kafka)
    return {
        "drawn": [drawn_one, drawn_two],
        "one": await produce(kafka, topic, batch("a", producer=one, sequence=0)),
        "two": await produce(kafka, topic, batch("b", producer=two, sequence=0)),
        "one, other partition": await produce(
            kafka,
            topic,
            batch("c", producer=one, sequence=0),
            partition=1,
            node=await kafka.leader(topic, 1),
        ),
        "log": await fetch(kafka, topic, 0),
    }


async def a_gap_in_the_sequence(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    return {
        "0": await produce(kafka, topic, batch("a", producer=producer, sequence=0)),
        "2": await produce(kafka, topic, batch("c", producer=producer, sequence=2)),
        "1": await produce(kafka, topic, batch("b", producer=producer, sequence=1)),
        "2 again": await produce(kafka, topic, batch("c", producer=producer, sequence=2)),
        "log": await fetch(kafka, topic, 0),
    }


async def batches_that_overlap(kafka: Session) -> Answer:
    """Only the very same batch is a retry."""
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    return {
        "0-1": await produce(kafka, topic, batch("a", "b", producer=producer, sequence=0)),
        "1-2": await produce(kafka, topic, batch("b", "c", producer=producer, sequence=1)),
        "0": await produce(kafka, topic, batch("a", producer=producer, sequence=0)),
        "0-2": await produce(kafka, topic, batch("a", "b", "c", producer=producer, sequence=0)),
        "log": await fetch(kafka, topic, 0),
    }


async def five_batches_are_remembered(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    sent = [batch(str(i), producer=producer, sequence=i) for i in range(6)]
    for records in sent:
        await produce(kafka, topic, records)
    return {
        "the sixth last": await produce(kafka, topic, sent[0]),
        "the fifth last": await produce(kafka, topic, sent[1]),
        "the last": await produce(kafka, topic, sent[5]),
        "the next": await produce(kafka, topic, batch("6", producer=producer, sequence=6)),
    }


async def epochs_only_rise(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    raised = Producer(producer.id, producer.epoch + 1)
    return {
        "epoch 0, sequence 0": await produce(kafka, topic, batch("a", producer=producer, sequence=0)),
        "epoch 1, sequence 1": await produce(kafka, topic, batch("b", producer=raised, sequence=1)),
        "epoch 1, sequence 0": await produce(kafka, topic, batch("b", producer=raised, sequence=0)),
        "epoch 0, sequence 1": await produce(kafka, topic, batch("c", producer=producer, sequence=1)),
        "epoch 0, sequence 0 again": await produce(kafka, topic, batch("a", producer=producer, sequence=0)),
        "epoch 1, sequence 1 again": await produce(kafka, topic, batch("d", producer=raised, sequence=1)),
        "log": await fetch(kafka, topic, 0),
    }


async def a_producer_nobody_knows(kafka: Session) -> Answer:
    """A producer whose state the leader lost (or never had) in the middle of its sequence."""
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    return {
        "7 first": await produce(kafka, topic, batch("a", producer=producer, sequence=7)),
        "7 again": await produce(kafka, topic, batch("a", producer=producer, sequence=7)),
        "8": await produce(kafka, topic, batch("b", producer=producer, sequence=8)),
        "0": await produce(kafka, topic, batch("c", producer=producer, sequence=0)),
        "log": await fetch(kafka, topic, 0),
    }


async def a_producer_id_that_was_never_drawn(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    stranger = Producer(1_000_000_007, 3)
    return {
        "0": await produce(kafka, topic, batch("a", producer=stranger, sequence=0)),
        "1": await produce(kafka, topic, batch("b", producer=stranger, sequence=1)),
    }


async def sequences_wrap(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    last = 2**31 - 1
    before, across = (
        batch("a", producer=producer, sequence=last - 1),
        batch("b", "c", producer=producer, sequence=last),
    )
    return {
        "last but one": await produce(kafka, topic, before),
        "last and 0": await produce(kafka, topic, across),
        "last and 0 again": await produce(kafka, topic, across),
        "1": await produce(kafka, topic, batch("d", producer=producer, sequence=1)),
        "log": await fetch(kafka, topic, 0),
    }


async def acks_of_an_idempotent_producer(kafka: Session) -> Answer:
    """The leader does not insist on acks=all; the client does."""
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    return {
        "acks=1": await produce(kafka, topic, batch("a", producer=producer, sequence=0), acks=1),
        "acks=1, a gap": await produce(kafka, topic, batch("b", producer=producer, sequence=5), acks=1),
    }


async def producer_without_sequence(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    return {"sent": await produce(kafka, topic, batch("a", producer=producer, sequence=-1))}


async def drawing_with_an_old_identity(kafka: Session) -> Answer:
    """Without a transactional id every InitProducerId draws a new producer id."""
    producer, first = await init_producer_id(kafka)
    _, second = await init_producer_id(kafka, current=producer)
    return {"first": first, "second": second}
