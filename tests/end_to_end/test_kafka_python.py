"""kafka-python, which shares no code with the others, against the broker as real processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewTopic,
)
from kafka.errors import ProducerFencedError, SecurityDisabledError, UnknownTopicOrPartitionError
from running_cluster import Up, up

pytestmark = pytest.mark.real
CODECS = ("gzip", "snappy", "lz4", "zstd")
PATIENCE_S = 30


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    words = ("--set", "log.cleaner.backoff.ms=100", "--set", "log.cleaner.min.cleanable.ratio=0.01")
    with up(tmp_path_factory.mktemp("cluster") / "up", *words) as running:
        yield running
        assert running.process.poll() is None
        assert set(running.logs().values()) == {""}


@pytest.fixture(scope="module")
def admin(cluster: Up) -> Iterator[Any]:
    made = KafkaAdminClient(bootstrap_servers=cluster.servers)
    yield made
    made.close()


def create(admin: Any, name: str, partitions: int = 1, **config: str) -> str:
    keys = {key.replace("_", "."): value for key, value in config.items()}
    admin.create_topics([NewTopic(name, partitions, 3, topic_configs=keys)])
    until(lambda: name in admin.list_topics())
    return name


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def send(cluster: Up, topic: str, *values: str, key: bytes | None = None, **settings: Any) -> None:
    producer = KafkaProducer(bootstrap_servers=cluster.servers, **settings)
    sent = [producer.send(topic, value.encode(), key=key, partition=0) for value in values]
    for each in sent:
        each.get(PATIENCE_S)
    producer.close()


def read(cluster: Up, topic: str, enough: Callable[[list[str]], bool], **settings: Any) -> list[str]:
    """Values of partition 0 from its beginning, until there are enough of them."""
    consumer = KafkaConsumer(bootstrap_servers=cluster.servers, **settings)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    values: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while not enough(values) and time.monotonic() < deadline:
        for records in consumer.poll(500).values():
            values += [record.value.decode() for record in records]
    consumer.close()
    return values


def test_a_topic_is_created_grown_configured_and_deleted(cluster: Up, admin: Any) -> None:
    create(admin, "grown", 2, retention_ms="100000")
    admin.create_partitions({"grown": 4})
    until(lambda: len(admin.describe_topics(["grown"])[0]["partitions"]) == 4)
    resource = ConfigResource(ConfigResourceType.TOPIC, "grown", {"max.message.bytes": "5000"})
    admin.alter_configs([resource])
    described = [ConfigResource(ConfigResourceType.TOPIC, "grown")]
    until(lambda: "'5000'" in str(admin.describe_configs(described)))
    assert "'100000'" in str(admin.describe_configs(described))
    admin.delete_topics(["grown"])
    until(lambda: "grown" not in admin.list_topics())
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics(["never-was"])


@pytest.mark.parametrize("codec", CODECS)
def test_what_one_compresses_the_other_reads(cluster: Up, admin: Any, codec: str) -> None:
    topic = create(admin, f"python-{codec}")
    lines = [f"{codec} {number} " + "x" * 50 for number in range(100)]
    send(cluster, topic, *lines, compression_type=codec, linger_ms=50)
    producer = Producer({"bootstrap.servers": cluster.servers, "compression.type": codec, "linger.ms": 50})
    for line in lines:
        producer.produce(topic, f"librdkafka {line}", partition=0)
    assert producer.flush(PATIENCE_S) == 0
    wanted = lines + [f"librdkafka {line}" for line in lines]
    assert read(cluster, topic, lambda values: len(values) >= 200) == wanted


def test_a_reader_sees_what_compaction_left(cluster: Up, admin: Any) -> None:
    topic = create(admin, "table", cleanup_policy="compact", segment_bytes="1024")
    for turn in range(30):
        send(cluster, topic, f"{turn} " + "x" * 100, key=b"one")
    send(cluster, topic, "last", key=b"two")
    whole = lambda values: bool(values) and values[-1] == "last"  # noqa: E731
    until(lambda: len(read(cluster, topic, whole)) < 15)
    left = read(cluster, topic, whole)
    assert left[-2].startswith("29 ")
    turns = [int(value.split()[0]) for value in left[:-1]]
    assert turns == sorted(turns)


def test_a_group_is_described_reset_and_deleted(cluster: Up, admin: Any) -> None:
    topic = create(admin, "grouped")
    send(cluster, topic, *map(str, range(10)))
    consumer = KafkaConsumer(
        topic, bootstrap_servers=cluster.servers, group_id="readers", auto_offset_reset="earliest"
    )
    values: list[bytes] = []
    until(
        lambda: values.extend(r.value for rs in consumer.poll(200).values() for r in rs) or len(values) == 10
    )
    consumer.commit()
    described = admin.describe_groups(["readers"])["readers"]
    assert described["group_state"] == "Stable"
    assert [m["member_metadata"]["topics"] for m in described["members"]] == [[topic]]
    partition = TopicPartition(topic, 0)
    assert admin.list_group_offsets("readers")["readers"][partition].offset == 10
    consumer.close()
    until(lambda: admin.describe_groups(["readers"])["readers"]["group_state"] == "Empty")
    assert "readers" in [group["group_id"] for group in admin.list_groups()]
    admin.delete_groups(["readers"])
    assert "readers" not in [group["group_id"] for group in admin.list_groups()]


def test_transactions_commit_abort_and_fence(cluster: Up, admin: Any) -> None:
    topic = create(admin, "transactions")
    first, second = (
        KafkaProducer(bootstrap_servers=cluster.servers, transactional_id="python") for _ in range(2)
    )
    first.init_transactions()
    for number in range(4):
        first.begin_transaction()
        first.send(topic, f"{number}".encode(), partition=0)
        first.flush()  # an abort drops what it has not sent
        (first.abort_transaction if number % 2 else first.commit_transaction)()
    first.begin_transaction()
    first.send(topic, b"fenced", partition=0)
    first.flush()
    second.init_transactions()
    with pytest.raises(ProducerFencedError):
        first.commit_transaction()
    second.begin_transaction()
    second.send(topic, b"last", partition=0)
    second.commit_transaction()
    committed = read(cluster, topic, lambda values: "last" in values, isolation_level="read_committed")
    assert committed == ["0", "2", "last"]
    dirty = read(cluster, topic, lambda values: "last" in values)
    assert dirty == ["0", "1", "2", "3", "fenced", "last"]
    described = str(admin.describe_transactions(["python"]))
    assert "CompleteCommit" in described
    for producer in (first, second):
        producer.close()


def test_what_an_administrator_looks_at(cluster: Up, admin: Any) -> None:
    topic = create(admin, "looked-at")
    send(cluster, topic, "a", "b", enable_idempotence=True)
    assert sorted(b["broker_id"] for b in admin.describe_cluster()["brokers"]) == [1, 2, 3]
    sizes = [
        partition["partition_size"]
        for told in admin.describe_log_dirs()
        for directory in told["log_dirs"]
        for each in directory["topics"]
        if each["name"] == topic
        for partition in each["partitions"]
    ]
    assert len(sizes) == 3
    assert min(sizes) > 0
    partition = TopicPartition(topic, 0)
    producers = admin.describe_producers([partition])[partition].active_producers
    assert [producer.last_sequence for producer in producers] == [1]
    assert admin.list_partition_reassignments() == {}
    assert admin.list_transactions() is not None


def test_what_is_not_configured_is_an_error_and_no_closed_connection(admin: Any) -> None:
    from kafka.admin import ACLFilter, ACLOperation, ACLPermissionType, ResourcePatternFilter
    from kafka.admin import ACLResourcePatternType as Pattern
    from kafka.admin import ResourceType as Resource

    anything = ResourcePatternFilter(Resource.ANY, None, Pattern.ANY)
    with pytest.raises(SecurityDisabledError):
        admin.describe_acls(
            ACLFilter(
                principal=None,
                host=None,
                operation=ACLOperation.ANY,
                permission_type=ACLPermissionType.ANY,
                resource_pattern=anything,
            )
        )
    assert len(admin.describe_cluster()["brokers"]) == 3
