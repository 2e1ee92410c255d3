"""An administrator's work on a running cluster, with confluent-kafka: topics grow, change, are compacted and deleted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ElectionType,
    IsolationLevel,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from running_cluster import Up, up

pytestmark = pytest.mark.real
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PATIENCE_S = 30
_SILENT = logging.Logger("librdkafka")
_SILENT.addHandler(logging.NullHandler())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    words = ("--set", "log.cleaner.backoff.ms=100", "--set", "log.cleaner.min.cleanable.ratio=0.01")
    with up(tmp_path_factory.mktemp("cluster") / "up", *words) as running:
        yield running
        assert running.process.poll() is None
        assert set(running.logs().values()) == {""}


@pytest.fixture
def admin(cluster: Up) -> AdminClient:
    return AdminClient({"bootstrap.servers": cluster.servers}, logger=_SILENT)


def create(admin: AdminClient, name: str, partitions: int = 1, **config: str) -> None:
    keys = {key.replace("_", "."): value for key, value in config.items()}
    admin.create_topics([NewTopic(name, partitions, 3, config=keys)])[name].result(timeout=PATIENCE_S)


def send(cluster: Up, topic: str, *pairs: tuple[str, str | None], **settings: Any) -> None:
    producer = Producer(
        {"bootstrap.servers": cluster.servers} | {k.replace("_", "."): v for k, v in settings.items()},
        logger=_SILENT,
    )
    failed: list[Any] = []
    for key, value in pairs:
        producer.produce(
            topic, value, key, partition=0, on_delivery=lambda e, m: failed.append(e) if e else None
        )
    assert producer.flush(PATIENCE_S) == 0
    assert not failed


def read(cluster: Up, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    """Everything in partition 0, from its beginning."""
    consumer = Consumer({"bootstrap.servers": cluster.servers, "group.id": "reader"}, logger=_SILENT)
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=PATIENCE_S)
    consumer.assign([TopicPartition(topic, 0, low)])
    found = []
    deadline = time.monotonic() + PATIENCE_S
    while consumer.position([TopicPartition(topic, 0)])[0].offset < high and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append((message.offset(), message.key(), message.value()))
            if message.offset() == high - 1:
                break
    consumer.close()
    return found


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _partitions(admin: AdminClient, topic: str) -> int:
    return len(admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions)


def test_a_topic_grows_and_is_deleted_and_its_name_begins_anew(cluster: Up, admin: AdminClient) -> None:
    create(admin, "grows")
    send(cluster, "grows", ("k", "1"), ("k", "2"))
    admin.create_partitions([NewPartitions("grows", 4)])["grows"].result(timeout=PATIENCE_S)
    until(lambda: _partitions(admin, "grows") == 4)
    with pytest.raises(KafkaException):
        admin.create_partitions([NewPartitions("grows", 2)])["grows"].result(timeout=PATIENCE_S)
    admin.delete_topics(["grows"])["grows"].result(timeout=PATIENCE_S)
    until(lambda: "grows" not in admin.list_topics(timeout=PATIENCE_S).topics)
    until(lambda: not list(cluster.folder.rglob("grows-*")) or not _files(cluster, "grows-*"))
    create(admin, "grows")
    send(cluster, "grows", ("k", "3"))
    assert read(cluster, "grows") == [(0, b"k", b"3")]
    with pytest.raises(KafkaException):
        admin.delete_topics(["nothing"])["nothing"].result(timeout=PATIENCE_S)


def _files(cluster: Up, pattern: str) -> list[Path]:
    return [f for folder in cluster.folder.rglob(pattern) for f in folder.rglob("*") if f.is_file()]


def test_configuration_changes_take_effect(cluster: Up, admin: AdminClient) -> None:
    create(admin, "configured")
    resource = ConfigResource(ResourceType.TOPIC, "configured")
    resource.add_incremental_config(
        ConfigEntry("max.message.bytes", "200", incremental_operation=AlterConfigOpType.SET)
    )
    admin.incremental_alter_configs([resource])[resource].result(timeout=PATIENCE_S)
    described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, "configured")])
    (entries,) = (future.result(timeout=PATIENCE_S) for future in described.values())
    assert entries["max.message.bytes"].value == "200"
    with pytest.raises(AssertionError):
        send(cluster, "configured", ("k", "v" * 400))
    wrong = ConfigResource(ResourceType.TOPIC, "configured")
    wrong.add_incremental_config(ConfigEntry("no.such.key", "1", incremental_operation=AlterConfigOpType.SET))
    with pytest.raises(KafkaException):
        admin.incremental_alter_configs([wrong])[wrong].result(timeout=PATIENCE_S)


@pytest.mark.parametrize("codec", CODECS)
def test_a_table_is_compacted_whatever_codec_its_producers_use(
    codec: str, cluster: Up, admin: AdminClient
) -> None:
    topic = f"table-{codec}"
    create(admin, topic, cleanup_policy="compact", segment_bytes="1024")
    for turn in range(30):
        pairs = [(f"k{n}", f"{turn}-" + "x" * 50) for n in range(5)]
        send(cluster, topic, *pairs, compression_type=codec, linger_ms=20)
    until(lambda: len(read(cluster, topic)) < 60)
    latest = {key: value for _, key, value in read(cluster, topic)}
    assert latest == {f"k{n}".encode(): b"29-" + b"x" * 50 for n in range(5)}


def test_a_table_takes_no_record_without_a_key(cluster: Up, admin: AdminClient) -> None:
    create(admin, "keyed", cleanup_policy="compact")
    producer = Producer({"bootstrap.servers": cluster.servers}, logger=_SILENT)
    errors: list[Any] = []
    producer.produce("keyed", "v", on_delivery=lambda e, m: errors.append(e))
    producer.flush(PATIENCE_S)
    assert errors[0] is not None and errors[0].name() == "INVALID_RECORD"


def test_what_an_administrator_looks_at(cluster: Up, admin: AdminClient) -> None:
    create(admin, "looked-at")
    send(cluster, "looked-at", ("a", "1"), ("b", "2"), enable_idempotence=True)
    described = admin.describe_cluster(request_timeout=PATIENCE_S).result(timeout=PATIENCE_S)
    assert sorted(node.id for node in described.nodes) == [1, 2, 3]
    topics = admin.describe_topics(TopicCollection(["looked-at"]))
    assert len(topics["looked-at"].result(timeout=PATIENCE_S).partitions) == 1
    partition = TopicPartition("looked-at", 0)
    for spec, offset in (
        (OffsetSpec.earliest(), 0),
        (OffsetSpec.latest(), 2),
        (OffsetSpec.max_timestamp(), None),
    ):
        asked = admin.list_offsets({partition: spec}, isolation_level=IsolationLevel.READ_COMMITTED)
        found = asked[partition].result(timeout=PATIENCE_S).offset
        assert offset is None or found == offset
    leaders = admin.elect_leaders(ElectionType.PREFERRED, [partition]).result(timeout=PATIENCE_S)
    assert leaders[partition] is None or leaders[partition].name() == "ELECTION_NOT_NEEDED"


def test_a_group_is_listed_described_reset_and_deleted(cluster: Up, admin: AdminClient) -> None:
    create(admin, "grouped")
    send(cluster, "grouped", *((None, str(n)) for n in range(10)))
    partition = TopicPartition("grouped", 0)

    def committed() -> int:
        asked = ConsumerGroupTopicPartitions("admins", [partition])
        [found] = admin.list_consumer_group_offsets([asked])["admins"].result(PATIENCE_S).topic_partitions
        return int(found.offset)

    consumer = Consumer(
        {"bootstrap.servers": cluster.servers, "group.id": "admins", "auto.offset.reset": "earliest"},
        logger=_SILENT,
    )
    consumer.subscribe(["grouped"])
    found: list[Any] = []
    until(lambda: bool(found.extend(consumer.consume(10, 0.2))) or len(found) >= 10)
    consumer.commit(asynchronous=False)
    described = admin.describe_consumer_groups(["admins"])["admins"].result(PATIENCE_S)
    assert described.state is ConsumerGroupState.STABLE
    [member] = described.members
    assert member.assignment.topic_partitions == [partition]
    assert committed() == 10
    deleting = admin.delete_consumer_groups(["admins"])["admins"]
    with pytest.raises(KafkaException, match="NON_EMPTY_GROUP"):
        deleting.result(PATIENCE_S)
    consumer.close()
    until(lambda: states(admin)["admins"] is ConsumerGroupState.EMPTY)
    reset = ConsumerGroupTopicPartitions("admins", [TopicPartition("grouped", 0, 4)])
    admin.alter_consumer_group_offsets([reset])["admins"].result(PATIENCE_S)
    assert committed() == 4
    admin.delete_consumer_groups(["admins"])["admins"].result(PATIENCE_S)
    assert "admins" not in states(admin)


def states(admin: AdminClient) -> dict[str, ConsumerGroupState]:
    """Of all groups."""
    listed = admin.list_consumer_groups().result(PATIENCE_S)
    assert not listed.errors
    return {group.group_id: group.state for group in listed.valid}


def test_records_are_deleted_and_readers_begin_behind_them(cluster: Up, admin: AdminClient) -> None:
    create(admin, "shortened")
    send(cluster, "shortened", *((None, str(n)) for n in range(10)))
    deleted = admin.delete_records([TopicPartition("shortened", 0, 6)])
    assert deleted[TopicPartition("shortened", 0, 6)].result(PATIENCE_S).low_watermark == 6
    assert [value for _, _, value in read(cluster, "shortened")] == [b"6", b"7", b"8", b"9"]
