"""Apache Kafka's own command-line tools and clients against the broker as real processes."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from running_cluster import Up, up

from tests.conformance.apache_kafka import MISSING, jars

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(MISSING), reason=f"Kafka's tools need {' and '.join(MISSING)}"),
    pytest.mark.timeout(300),
]
TOOLS = "org.apache.kafka.tools."
TOOL_TIMEOUT_S = 120
PATIENCE_S = 60
JAVA = (
    *("java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_SILENT = logging.Logger("librdkafka")
_SILENT.addHandler(logging.NullHandler())


class Tools:
    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._class_path = str(jars() / "*")

    def run(self, tool: str, *words: str, given: str = "") -> str:
        """What it printed; its class is named without the package of Kafka's tools."""
        ran = subprocess.run(
            [*JAVA, "-cp", self._class_path, TOOLS + tool, "--bootstrap-server", self.servers, *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=TOOL_TIMEOUT_S,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "ERROR" not in ran.stderr, ran.stderr
        return ran.stdout

    def topic(self, name: str, *words: str, partitions: int = 1) -> str:
        how = ("--partitions", str(partitions), "--replication-factor", "3", *words)
        self.run("TopicCommand", "--create", "--topic", name, *how)
        return name

    def group(self, *words: str) -> list[list[str]]:
        """The lines of a table, without its head."""
        printed = self.run("consumer.group.ConsumerGroupCommand", *words)
        return [line.split() for line in printed.splitlines() if line and not line.startswith("GROUP ")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    words = ("--set", "quota.window.num=2", "--set", "log.cleaner.backoff.ms=100")
    with up(tmp_path_factory.mktemp("cluster") / "up", *words) as running:
        yield running
        assert running.process.poll() is None
        assert set(running.logs().values()) == {""}


@pytest.fixture
def tools(cluster: Up) -> Tools:
    return Tools(cluster.servers)


def events(printed: str, name: str) -> list[dict[str, Any]]:
    """Of a verifiable client."""
    told = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return [event for event in told if event["name"] == name]


def read(cluster: Up, topic: str, count: int) -> list[str]:
    """By librdkafka, partition 0."""
    consumer = Consumer({"bootstrap.servers": cluster.servers, "group.id": "reader"}, logger=_SILENT)
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        found += [(message.value() or b"").decode() for message in consumer.consume(count, 0.5)]
    consumer.close()
    return found


def test_a_topic_is_created_grown_described_and_deleted(tools: Tools) -> None:
    tools.topic("tools", "--config", "retention.ms=100000", partitions=2)
    tools.run("TopicCommand", "--alter", "--topic", "tools", "--partitions", "4")
    described = tools.run("TopicCommand", "--describe", "--topic", "tools")
    assert "PartitionCount: 4" in described
    assert "Configs: retention.ms=100000" in described
    assert len(re.findall(r"Isr: [123],[123],[123]\s", described)) == 4
    assert tools.run("GetOffsetShell", "--topic", "tools").split() == [f"tools:{n}:0" for n in range(4)]
    tools.run("LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions")
    directories = tools.run("LogDirsCommand", "--describe", "--topic-list", "tools").splitlines()[-1]
    assert [len(b["logDirs"][0]["partitions"]) for b in json.loads(directories)["brokers"]] == [4, 4, 4]
    tools.run("TopicCommand", "--delete", "--topic", "tools")
    assert "tools" not in tools.run("TopicCommand", "--list").split()


def test_settings_are_changed_and_described(tools: Tools) -> None:
    tools.topic("configured")
    of_topic = ("--entity-type", "topics", "--entity-name", "configured")
    tools.run("ConfigCommand", "--alter", *of_topic, "--add-config", "max.message.bytes=5000")
    described = tools.run("ConfigCommand", "--describe", *of_topic, "--all")
    assert (
        "max.message.bytes=5000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=5000"
        in described
    )
    tools.run("ConfigCommand", "--alter", *of_topic, "--delete-config", "max.message.bytes")
    assert "max.message.bytes=1048588" in tools.run("ConfigCommand", "--describe", *of_topic, "--all")


def test_a_quota_slows_the_client_that_it_names(cluster: Up, tools: Tools) -> None:
    tools.topic("limited")
    slow = ("--entity-type", "clients", "--entity-name", "slow")
    tools.run("ConfigCommand", "--alter", *slow, "--add-config", "producer_byte_rate=20000")
    assert "producer_byte_rate=20000.0" in tools.run("ConfigCommand", "--describe", *slow)

    def produce(client: str) -> tuple[float, list[float]]:
        told: list[float] = []
        producer = Producer(
            {
                "bootstrap.servers": cluster.servers,
                "client.id": client,
                "batch.num.messages": 1,
                "throttle_cb": lambda event: told.append(event.throttle_time),
            },
            logger=_SILENT,
        )
        producer.list_topics("limited", timeout=PATIENCE_S)
        began = time.monotonic()
        for _ in range(60):
            producer.produce("limited", b"x" * 1_000)
        assert producer.flush(PATIENCE_S) == 0
        producer.poll(0.1)
        return time.monotonic() - began, told

    limited, told = produce("slow")
    free, untold = produce("fast")
    assert limited > 1.5, "60 KB at 20 KB a second, the first second free"
    assert limited > free
    assert max(told) > 0.2
    assert untold == []
    tools.run("ConfigCommand", "--alter", *slow, "--delete-config", "producer_byte_rate")
    assert "producer_byte_rate" not in tools.run("ConfigCommand", "--describe", *slow)


def test_a_users_quota_is_kept_beside_the_one_of_his_client(tools: Tools) -> None:
    user = ("--entity-type", "users", "--entity-name", "anna")
    tools.run("ConfigCommand", "--alter", *user, "--add-config", "request_percentage=50")
    of_client = (*user, "--entity-type", "clients", "--entity-default")
    tools.run("ConfigCommand", "--alter", *of_client, "--add-config", "consumer_byte_rate=1000000")
    described = tools.run("ConfigCommand", "--describe", "--entity-type", "users")
    assert "user-principal 'anna' are request_percentage=50.0" in described
    described = tools.run("ConfigCommand", "--describe", "--entity-type", "users", "--entity-type", "clients")
    assert "user-principal 'anna', the default client-id are consumer_byte_rate=1000000.0" in described


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_what_java_compresses_others_read_and_the_other_way_round(
    cluster: Up, tools: Tools, codec: str
) -> None:
    topic = tools.topic(f"java-{codec}")
    lines = [f"{codec} {number} " + "x" * 50 for number in range(100)]
    given = "\n".join(lines) + "\n"
    tools.run("ConsoleProducer", "--topic", topic, "--compression-codec", codec, given=given)
    assert read(cluster, topic, 100) == lines
    producer = Producer({"bootstrap.servers": cluster.servers, "compression.type": codec, "linger.ms": 50})
    for line in lines:
        producer.produce(topic, f"librdkafka {line}")
    assert producer.flush(PATIENCE_S) == 0
    consumed = tools.run(
        "consumer.ConsoleConsumer",
        *("--topic", topic, "--from-beginning", "--max-messages", "200", "--timeout-ms", "30000"),
    )
    assert consumed.splitlines() == lines + [f"librdkafka {line}" for line in lines]


def test_groups_are_listed_described_reset_and_deleted(tools: Tools) -> None:
    tools.topic("grouped")
    tools.run("ConsoleProducer", "--topic", "grouped", given="one\ntwo\nthree\n")
    consume = ("consumer.ConsoleConsumer", "--topic", "grouped", "--group", "java", "--timeout-ms", "30000")
    first = tools.run(*consume, "--from-beginning", "--max-messages", "3")
    assert first.split() == ["one", "two", "three"]
    assert ["java", "grouped", "0", "3", "3", "0", "-", "-", "-"] in tools.group(
        "--describe", "--group", "java"
    )
    assert ["java", "Empty"] in tools.group("--list", "--state")
    reset = ("--reset-offsets", "--group", "java", "--topic", "grouped", "--shift-by", "-2", "--execute")
    assert tools.group(*reset) == [["java", "grouped", "0", "1"]]
    assert tools.run(*consume, "--max-messages", "2").split() == ["two", "three"]
    tools.group("--delete-offsets", "--group", "java", "--topic", "grouped")
    tools.group("--delete", "--group", "java")
    assert not [line for line in tools.group("--list") if line == ["java"]]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_verifiable_clients_verify(tools: Tools, protocol: str) -> None:
    topic = tools.topic(f"verified-{protocol}", partitions=2)
    sent = tools.run("VerifiableProducer", "--topic", topic, "--max-messages", "50", "--acks", "-1")
    assert len(events(sent, "producer_send_success")) == 50
    read_back = tools.run(
        "VerifiableConsumer",
        *("--topic", topic, "--group-id", topic, "--group-protocol", protocol),
        *("--max-messages", "50", "--reset-policy", "earliest", "--verbose"),
    )
    values = [event["value"] for event in events(read_back, "record_data")]
    assert sorted(map(int, values)) == list(range(50))
    assert all(event["success"] for event in events(read_back, "offsets_committed"))


def test_transactions_of_java_are_seen_once_they_are_committed(tools: Tools) -> None:
    topic = tools.topic("java-transactions")
    tools.run(
        "ProducerPerformance",
        *("--topic", topic, "--num-records", "200", "--record-size", "20", "--throughput", "-1"),
        *("--transactional-id", "java", "--transaction-duration-ms", "50"),
    )
    committed = tools.run(
        "consumer.ConsoleConsumer",
        *("--topic", topic, "--from-beginning", "--max-messages", "200", "--timeout-ms", "30000"),
        *("--isolation-level", "read_committed"),
    )
    assert len(committed.splitlines()) == 200
    listed = tools.run("TransactionsCommand", "list")
    assert re.search(r"^java\s+[123]\s+\d+\s+CompleteCommit", listed, re.MULTILINE)
    described = tools.run("TransactionsCommand", "describe", "--transactional-id", "java")
    assert "CompleteCommit" in described


def test_every_version_that_is_advertised_is_one_that_java_can_use(tools: Tools) -> None:
    told = tools.run("BrokerApiVersionsCommand")
    assert len(re.findall(r"id: \d+ .* ->", told)) == 3
    assert "Produce(0): " in told
    assert "UNKNOWN" not in told
    assert "unusable" not in told.lower().replace("[usable", "")
