"""What our Kafka clients must be able to do with anything that speaks Kafka: asserted, not recorded.

Each scenario gets a function that makes the client of one host (`systems.kafka`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from harness.capabilities import Consumer, DefiniteFailure, Fenced, Log, Record, TopicPartition

from .session import settled

Clients = Callable[[str], Log]
Scenario = Callable[[Clients], Coroutine[Any, Any, None]]


async def committed_is_seen_and_aborted_is_not(clients: Clients) -> None:
    log, topic = clients("host-1"), "atomic"
    await log.create_topic(topic, partitions=2, replication_factor=3)
    producer = log.producer(transactional_id="atomic")
    await producer.start()
    await producer.begin()
    first = await producer.send(topic, b"a", partition=0)
    await producer.send(topic, b"b", partition=1)
    await producer.commit()
    await producer.begin()
    await producer.send(topic, b"lost", partition=0)
    await producer.abort()
    await producer.begin()
    last = await producer.send(topic, b"c", partition=0)
    await producer.commit()
    await producer.close()
    assert (first.offset, last.offset) == (0, 4), "a marker takes an offset after a, lost and their ends"
    assert await everything(log, topic, 2, "read_committed") == [[b"a", b"c"], [b"b"]]
    assert await everything(log, topic, 2, "read_uncommitted") == [[b"a", b"lost", b"c"], [b"b"]]


async def many_transactions_in_a_row(clients: Clients) -> None:
    """The coordinator may still be completing one when the next begins; under transaction version 2 every
    one of them has an epoch of its own."""
    log, topic = clients("host-1"), "row"
    await log.create_topic(topic, partitions=1, replication_factor=3)
    producer = log.producer(transactional_id="row")
    await producer.start()
    for number in range(15):
        await producer.begin()
        await producer.send(topic, b"%d" % number, partition=0)
        await (producer.abort() if number % 5 == 4 else producer.commit())
    await producer.close()
    expected = [b"%d" % number for number in range(15) if number % 5 != 4]
    assert await everything(log, topic, 1, "read_committed") == [expected]


async def transactions_in_which_nothing_happens(clients: Clients) -> None:
    log, topic = clients("host-1"), "nothing"
    await log.create_topic(topic, partitions=1, replication_factor=3)
    producer = log.producer(transactional_id="nothing")
    await producer.start()
    await producer.begin()
    await producer.commit()
    await producer.begin()
    await producer.abort()
    await producer.begin()
    await producer.send(topic, b"a", partition=0)
    await producer.commit()
    await producer.begin()
    await producer.abort()
    await producer.close()
    assert await everything(log, topic, 1, "read_committed") == [[b"a"]]


async def offsets_go_with_the_transaction(clients: Clients) -> None:
    log, source, target = clients("host-1"), "source", "target"
    for topic in (source, target):
        await log.create_topic(topic, partitions=1, replication_factor=3)
    plain = log.producer()
    await plain.start()
    for number in range(4):
        await plain.send(source, b"%d" % number, partition=0)
    await plain.close()

    partition = TopicPartition(source, 0)
    consumer = await log.consumer(group="pipeline")
    await consumer.subscribe([source])
    producer = log.producer(transactional_id="pipeline")
    await producer.start()
    polled = [record.value for record in await poll(consumer, 4)]
    await producer.begin()
    await producer.send(target, b"+".join(polled[:2]), partition=0)
    await producer.send_offsets({partition: 2}, consumer)
    await producer.commit()
    await producer.begin()
    await producer.send(target, b"+".join(polled[2:]), partition=0)
    await producer.send_offsets({partition: 4}, consumer)
    await producer.abort()
    assert await consumer.committed(partition) == 2
    assert await consumer.seek_to_committed() == {partition: 2}
    again = [record.value for record in await poll(consumer, 2)]
    await producer.begin()
    await producer.send(target, b"+".join(again), partition=0)
    await producer.send_offsets({partition: 4}, consumer)
    await producer.commit()
    await producer.close()
    await consumer.close()
    assert await everything(log, target, 1, "read_committed") == [[b"0+1", b"2+3"]]

    successor = await log.consumer(group="pipeline")
    await successor.subscribe([source])
    assert await settled(lambda: assigned(successor), "no assignment") == (partition,)
    assert await successor.committed(partition) == 4
    assert await successor.position(partition) == 4
    await successor.close()


async def a_second_producer_fences_the_first(clients: Clients) -> None:
    log, topic = clients("host-1"), "fenced"
    await log.create_topic(topic, partitions=1, replication_factor=3)
    first = log.producer(transactional_id="fenced")
    await first.start()
    await first.begin()
    await first.send(topic, b"zombie", partition=0)
    second = clients("host-2").producer(transactional_id="fenced")
    await second.start()
    with pytest.raises(Fenced):
        await first.commit()
    await second.begin()
    await second.send(topic, b"alive", partition=0)
    await second.commit()
    await first.close()
    await second.close()
    assert await everything(log, topic, 1, "read_committed") == [[b"alive"]]


async def a_fenced_producer_cannot_send(clients: Clients) -> None:
    log, topic = clients("host-1"), "refused"
    await log.create_topic(topic, partitions=1, replication_factor=3)
    first = log.producer(transactional_id="refused")
    await first.start()
    second = clients("host-2").producer(transactional_id="refused")
    await second.start()
    await first.begin()
    with pytest.raises(Fenced):
        await first.send(topic, b"zombie", partition=0)
    await first.close()
    await second.close()
    assert await everything(log, topic, 1, "read_uncommitted") == [[]]


async def offsets_of_a_lost_membership_are_refused(clients: Clients) -> None:
    """What was polled before a rebalance must not be committed after it (KIP-447)."""
    log, source = clients("host-1"), "shared"
    await log.create_topic(source, partitions=2, replication_factor=3)
    plain = log.producer()
    await plain.start()
    for partition in range(2):
        await plain.send(source, b"x", partition=partition)
    await plain.close()
    old = await log.consumer(group="shared")
    await old.subscribe([source])
    await poll(old, 2)
    new = await clients("host-2").consumer(group="shared")
    await new.subscribe([source])
    assert len(await settled(lambda: assigned(new), "no assignment")) == 1
    await settled(lambda: left_with(old, 1), "the group does not rebalance")
    producer = log.producer(transactional_id="shared")
    await producer.start()
    await producer.begin()
    with pytest.raises(DefiniteFailure):
        await producer.send_offsets({TopicPartition(source, 0): 1, TopicPartition(source, 1): 1}, old)
    await producer.abort()
    (taken,) = new.assignment()
    assert await new.committed(taken) is None
    await poll(new, 1)
    await producer.begin()
    await producer.send_offsets({taken: 1}, new)
    await producer.commit()
    assert await new.committed(taken) == 1
    await producer.close()
    await old.close()
    await new.close()


async def an_idempotent_producer_keeps_its_order(clients: Clients) -> None:
    log, topic = clients("host-1"), "ordered"
    await log.create_topic(topic, partitions=1, replication_factor=3)
    producer = log.producer()
    await producer.start()
    values = [b"%d" % number for number in range(50)]
    sent = await asyncio.gather(*(producer.send(topic, value, partition=0) for value in values))
    await producer.close()
    assert [entry.offset for entry in sent] == list(range(50))
    assert await everything(log, topic, 1, "read_committed") == [values]


SCENARIOS: tuple[Scenario, ...] = (
    committed_is_seen_and_aborted_is_not,
    many_transactions_in_a_row,
    transactions_in_which_nothing_happens,
    offsets_go_with_the_transaction,
    a_second_producer_fences_the_first,
    a_fenced_producer_cannot_send,
    offsets_of_a_lost_membership_are_refused,
    an_idempotent_producer_keeps_its_order,
)


async def everything(log: Log, topic: str, partitions: int, isolation: str) -> list[list[bytes]]:
    """All values of each partition up to its end (high watermark or last stable offset)."""
    wanted = [TopicPartition(topic, index) for index in range(partitions)]
    consumer = await log.consumer(isolation=isolation)
    await consumer.assign(wanted)
    ends = await consumer.end_offsets(wanted)
    values: list[list[bytes]] = [[] for _ in wanted]

    async def read() -> bool | None:
        for record in await consumer.poll(timeout_ms=200):
            values[record.partition].append(record.value)
        positions = [await consumer.position(partition) for partition in wanted]
        return all(position >= ends[p] for position, p in zip(positions, wanted, strict=True)) or None

    await settled(read, "records are missing")
    await consumer.close()
    return values


async def poll(consumer: Consumer, count: int) -> list[Record]:
    records: list[Record] = []

    async def read() -> bool | None:
        records.extend(await consumer.poll(timeout_ms=200))
        return len(records) >= count or None

    await settled(read, "records are missing")
    return records


async def assigned(consumer: Consumer) -> Sequence[TopicPartition] | None:
    """The assignment once there is one."""
    await consumer.poll(timeout_ms=50)
    return consumer.assignment() or None


async def left_with(consumer: Consumer, count: int) -> bool | None:
    """Once the library has rebalanced by itself: nothing is polled under the new membership."""
    return len(consumer.assignment()) == count or None
