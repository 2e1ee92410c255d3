"""Our member of the new group protocol (KIP-848) with the bundled broker and with Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from harness.capabilities import DefiniteFailure, GroupMember, TopicPartition
from harness.cluster import Cluster
from systems.kafka.aiokafka_client import AiokafkaLog
from systems.kafka.client import client

from .apache_kafka import MISSING, apache_kafka
from .simulated_broker import CLIENTS, simulated

PATIENCE_S = 120.0
"""Simulated or real seconds: Apache Kafka hears of a member every five seconds."""
NEW: dict[str, Any] = {"group.protocol": "consumer"}
TOPIC = "shared"


async def members_share_and_inherit(clients: Callable[[str], Any]) -> None:
    first_log, second_log = clients("host-1"), clients("host-2")
    await first_log.create_topic(TOPIC, partitions=4, replication_factor=3)
    producer = first_log.producer()
    await producer.start()
    for number in range(40):
        await producer.send(TOPIC, b"%d" % number, partition=number % 4)
    await producer.close()
    first = await first_log.member(group="sharing")
    await first.subscribe([TOPIC])
    read: set[bytes] = set()
    await _polls_until([first], lambda: len(read) == 40, read)
    await first.commit_as(first.membership, {TopicPartition(TOPIC, p): 10 for p in range(4)})
    before = first.membership
    second = await second_log.member(group="sharing")
    await second.subscribe([TOPIC])
    await _polls_until(
        [first, second], lambda: len(first.assignment()) == len(second.assignment()) == 2, read
    )
    kept, moved = first.assignment()[0], second.assignment()[0]
    assert await second.committed(moved) == 10
    await first.commit_as(before, {kept: 9})
    with pytest.raises(DefiniteFailure):
        await first.commit_as(before, {moved: 8})
    assert await second.committed(moved) == 10
    await second.close()
    await _polls_until([first], lambda: len(first.assignment()) == 4, read)
    assert first.membership[0] > before[0]
    await first.close()


async def _polls_until(members: list[GroupMember], reached: Callable[[], bool], read: set[bytes]) -> None:
    while not reached():
        for member in members:
            read.update([record.value for record in await member.poll(timeout_ms=100)])


def test_with_the_bundled_broker() -> None:
    async def run(cluster: Cluster, config: dict[str, Any]) -> None:
        host = cluster.client_host(CLIENTS[0])
        async with asyncio.timeout(PATIENCE_S):
            await host.spawn(
                members_share_and_inherit(lambda name: client("log", cluster, name, config | NEW))
            )

    simulated(run, {})


@pytest.mark.real
@pytest.mark.skipif(bool(MISSING), reason=f"a real Kafka needs {' and '.join(MISSING)}")
@pytest.mark.timeout(300)
def test_with_apache_kafka() -> None:
    with apache_kafka() as kafka:
        scenario = members_share_and_inherit(lambda host: AiokafkaLog(kafka, host, NEW))
        asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))
