"""Groups of the new protocol (KIP-848) with clients of other makes, against the broker as real processes: confluent-kafka
and Apache Kafka's own console consumer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from running_cluster import Up, up
from test_java_tools import Tools

from tests.conformance.apache_kafka import MISSING

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
PATIENCE_S = 40
RECORDS = 300


class Group:
    """Makes members, and keeps what each of them was given."""

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self.servers, self.topic = servers, topic
        self.values: list[str] = []
        self.members: list[Consumer] = []
        self._silent = logging.Logger("librdkafka")
        self._silent.addHandler(logging.NullHandler())
        self.admin = AdminClient({"bootstrap.servers": servers}, logger=self._silent)
        self.admin.create_topics([NewTopic(topic, partitions, 3)])[topic].result(timeout=PATIENCE_S)

    def member(self, **settings: Any) -> Consumer:
        given = {"group_id": self.topic, "auto_offset_reset": "earliest", "group_protocol": "consumer"}
        named = {k.replace("_", "."): v for k, v in (given | settings).items()}
        consumer = Consumer({"bootstrap.servers": self.servers} | named, logger=self._silent)
        self.members.append(consumer)
        consumer.subscribe([self.topic])
        return consumer

    def send(self, values: list[str]) -> None:
        producer = Producer({"bootstrap.servers": self.servers}, logger=self._silent)
        for value in values:
            producer.produce(self.topic, value=value, key=value)
        assert producer.flush(PATIENCE_S) == 0

    def poll_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < deadline, [m.assignment() for m in self.members]
            for member in self.members:
                self.values += map(_text, member.consume(100, timeout=0.05))

    def leaves(self, member: Consumer) -> None:
        self.members.remove(member)
        member.close()

    def shares(self) -> list[int]:
        return sorted(len(member.assignment()) for member in self.members)

    def close(self) -> None:
        for member in list(self.members):
            self.leaves(member)


def _text(message: Message) -> str:
    assert message.error() is None, message.error()
    return (message.value() or b"").decode()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("cluster") / "up") as running:
        yield running
        assert running.process.poll() is None
        assert set(running.logs().values()) == {""}


@pytest.mark.parametrize("assignor", ["uniform", "range"])
def test_members_share_and_inherit(cluster: Up, assignor: str) -> None:
    group = Group(cluster.servers, f"shared-{assignor}", 6)
    first = group.member(group_remote_assignor=assignor)
    group.poll_until(lambda: group.shares() == [6])
    second = group.member(group_remote_assignor=assignor)
    group.poll_until(lambda: group.shares() == [3, 3])
    group.member(group_remote_assignor=assignor)
    group.poll_until(lambda: group.shares() == [2, 2, 2])
    owned = [p.partition for member in group.members for p in member.assignment()]
    assert sorted(owned) == list(range(6))
    described = group.admin.describe_consumer_groups([group.topic])[group.topic].result(timeout=PATIENCE_S)
    assert described.state == ConsumerGroupState.STABLE
    assert len(described.members) == 3
    group.send([str(n) for n in range(RECORDS)])
    group.poll_until(lambda: len(group.values) >= RECORDS)
    group.leaves(second)
    group.poll_until(lambda: group.shares() == [3, 3])
    group.leaves(first)
    group.poll_until(lambda: group.shares() == [6])
    group.close()
    assert sorted(map(int, group.values)) == list(range(RECORDS)), "every member commits as it goes"


def test_a_static_member_comes_back_to_its_partitions(cluster: Up) -> None:
    group = Group(cluster.servers, "static", 4)
    group.member(group_instance_id="one")
    back = group.member(group_instance_id="two")
    group.poll_until(lambda: group.shares() == [2, 2])
    had = back.assignment()
    group.leaves(back)
    again = group.member(group_instance_id="two")
    group.poll_until(lambda: len(again.assignment()) == 2)
    assert again.assignment() == had
    assert group.shares() == [2, 2], "nobody else need know"
    group.close()


def test_a_group_goes_on_when_its_coordinator_is_killed(tmp_path: Path) -> None:
    with up(tmp_path / "up") as running:
        group = Group(running.servers, "going-on", 4)
        group.member()
        group.member()
        group.poll_until(lambda: group.shares() == [2, 2])
        group.send([f"before {n}" for n in range(RECORDS)])
        group.poll_until(lambda: len(group.values) >= RECORDS)
        for member in group.members:
            member.commit(asynchronous=False)
        described = group.admin.describe_consumer_groups([group.topic])[group.topic].result(
            timeout=PATIENCE_S
        )
        running.kill_9(f"b{described.coordinator.id}")
        group.send([f"after {n}" for n in range(RECORDS)])
        group.poll_until(lambda: len(set(group.values)) >= 2 * RECORDS)
        assert group.shares() == [2, 2]
        wanted = [f"{when} {n}" for when in ("before", "after") for n in range(RECORDS)]
        assert sorted(set(group.values)) == sorted(wanted)
        committed = group.members[0].committed(
            [TopicPartition(group.topic, p) for p in range(4)], timeout=PATIENCE_S
        )
        assert all(partition.offset > 0 for partition in committed)
        group.close()


@pytest.mark.skipif(bool(MISSING), reason=f"Kafka's tools need {' and '.join(MISSING)}")
def test_javas_console_consumer_goes_on_where_it_stopped(cluster: Up) -> None:
    tools = Tools(cluster.servers)
    topic = tools.topic("java-consumer-protocol", partitions=2)
    consume = (
        "consumer.ConsoleConsumer",
        *("--topic", topic, "--group", topic, "--timeout-ms", "30000"),
        *("--command-property", "group.protocol=consumer"),
    )
    tools.run("ConsoleProducer", "--topic", topic, given="one\ntwo\nthree\n")
    first = tools.run(*consume, "--from-beginning", "--max-messages", "3")
    assert sorted(first.split()) == ["one", "three", "two"]
    tools.run("ConsoleProducer", "--topic", topic, given="four\n")
    assert tools.run(*consume, "--max-messages", "1").split() == ["four"]
    described = tools.run("consumer.group.ConsumerGroupCommand", "--list", "--type")
    assert [line.split() for line in described.splitlines() if topic in line] == [[topic, "Consumer"]]
    tools.group("--delete", "--group", topic)
    assert topic not in tools.run("consumer.group.ConsumerGroupCommand", "--list")
