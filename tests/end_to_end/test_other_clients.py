"""Clients of other makes against the broker as real processes: kcat (Debian's librdkafka) and
confluent-kafka (the newest). Nothing of theirs knows of chaos."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from running_cluster import Up, up

pytestmark = pytest.mark.real
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PATIENCE_S = 30


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all tests that leave it whole."""
    with up(tmp_path_factory.mktemp("cluster") / "up") as running:
        yield running
        assert running.process.poll() is None
        assert set(running.logs().values()) == {""}


class Clients:
    """Makes librdkafka clients and keeps what they log."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._logger = logging.Logger("librdkafka")
        self._lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self._lines.append(record.getMessage())  # type: ignore[method-assign]
        self._logger.addHandler(handler)
        self._open: list[Consumer] = []
        self.expected: tuple[str, ...] = ()
        """Facilities of librdkafka (`FAIL`: a connection broke) that have reason to complain."""
        self.admin = AdminClient(self._given({}), logger=self._logger)

    def producer(self, **settings: Any) -> Producer:
        return Producer(self._given(settings), logger=self._logger)

    def consumer(self, group: str, **settings: Any) -> Consumer:
        defaults = {"group_id": group, "auto_offset_reset": "earliest", "session_timeout_ms": 6000}
        consumer = Consumer(self._given({**defaults, **settings}), logger=self._logger)
        self._open.append(consumer)
        return consumer

    def topic(self, name: str, partitions: int = 3) -> str:
        self.admin.create_topics([NewTopic(name, partitions, 3)])[name].result(timeout=PATIENCE_S)
        return name

    def complaints(self) -> list[str]:
        """Closes them. What they logged in all, and had no reason to."""
        for consumer in self._open:
            consumer.close()
        return [line for line in self._lines if line.split()[0] not in self.expected]

    def _given(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"bootstrap.servers": self.servers} | {k.replace("_", "."): v for k, v in settings.items()}


@pytest.fixture
def clients(cluster: Up) -> Iterator[Clients]:
    made = Clients(cluster.servers)
    yield made
    assert made.complaints() == []


class Sent:
    """Sends and remembers what was acknowledged and what was not."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self.acknowledged: list[str] = []
        self.acknowledged_at: list[float] = []
        self.errors: list[str] = []
        self.producer = producer
        self._topic = topic

    def send(self, value: str) -> None:
        self.producer.produce(self._topic, value=value, key=value, on_delivery=self._delivered)
        self.producer.poll(0)

    def _delivered(self, error: Any, message: Message) -> None:
        if error is not None:
            self.errors.append(str(error))
            return
        value = message.value()
        assert value is not None
        self.acknowledged.append(value.decode())
        self.acknowledged_at.append(time.monotonic())


def subscribed(topic: str, consumer: Consumer) -> Consumer:
    consumer.subscribe([topic])
    return consumer


def enough(count: int) -> Callable[[list[str]], bool]:
    return lambda values: len(values) >= count


def read(
    consumer: Consumer, enough: Callable[[list[str]], bool], patience_s: float = PATIENCE_S
) -> list[str]:
    """Values, until there are enough of them or patience ends."""
    values: list[str] = []
    deadline = time.monotonic() + patience_s
    while not enough(values) and time.monotonic() < deadline:
        values += values_of(consumer.consume(500, timeout=0.2))
    return values


def values_of(messages: list[Message]) -> list[str]:
    values = []
    for message in messages:
        if message.error() is not None:
            raise KafkaException(message.error())
        value = message.value()
        assert value is not None
        values.append(value.decode())
    return values


def poll_until(consumers: list[Consumer], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        for consumer in consumers:
            consumer.consume(100, timeout=0.05)


def kcat(servers: str, *words: str, given: str = "") -> str:
    program = shutil.which("kcat")
    assert program is not None, "kcat is missing: apt-get install kcat"
    ran = subprocess.run(
        [program, "-b", servers, *words], input=given, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    # "% words" are kcat's own progress, "%3|1795575740|FAIL|…" what librdkafka complains of.
    complaints = [line for line in ran.stderr.splitlines() if line.startswith("%") and line[1].isdigit()]
    assert complaints == []
    return ran.stdout


# ── kcat ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_kcat_lists_the_cluster(cluster: Up) -> None:
    listed = kcat(cluster.servers, "-L")
    assert "3 brokers:" in listed
    for name, number in (("b1", 1), ("b2", 2), ("b3", 3)):
        assert f"broker {number} at {cluster.node(name)['address']}" in listed


@pytest.mark.parametrize("codec", CODECS)
def test_kcat_reads_back_what_it_wrote(cluster: Up, codec: str) -> None:
    lines = [f"{codec} {n}" for n in range(500)]
    kcat(cluster.servers, "-P", "-t", f"kcat-{codec}", "-z", codec, given="\n".join(lines))
    read_back = kcat(cluster.servers, "-C", "-t", f"kcat-{codec}", "-o", "beginning", "-e")
    assert read_back.splitlines() == lines


def test_kcat_in_a_group_goes_on_where_it_stopped(cluster: Up) -> None:
    group = ("-G", "kcat-group", "-X", "auto.offset.reset=earliest", "-e", "kcat-tail")
    kcat(cluster.servers, "-P", "-t", "kcat-tail", given="one\ntwo")
    assert kcat(cluster.servers, *group).split() == ["one", "two"]
    kcat(cluster.servers, "-P", "-t", "kcat-tail", given="three")
    assert kcat(cluster.servers, *group).split() == ["three"]


# ── confluent-kafka ──────────────────────────────────────────────────────────────────────────────────────


def test_metadata(clients: Clients) -> None:
    clients.topic("listed", partitions=5)
    metadata = clients.admin.list_topics("listed", timeout=PATIENCE_S)
    assert sorted(metadata.brokers) == [1, 2, 3]
    partitions = metadata.topics["listed"].partitions
    assert sorted(partitions) == [0, 1, 2, 3, 4]
    assert all(sorted(p.replicas) == sorted(p.isrs) == [1, 2, 3] for p in partitions.values())
    assert {p.leader for p in partitions.values()} == {1, 2, 3}


@pytest.mark.parametrize("settings", [{"acks": "all"}, {"acks": 1}, {"enable_idempotence": True}], ids=str)
def test_produce_and_consume(clients: Clients, settings: dict[str, Any]) -> None:
    topic = clients.topic("plain-" + "-".join(map(str, settings.values())))
    producer = clients.producer(linger_ms=5, **settings)
    sent = Sent(producer, topic)
    wanted = [str(n) for n in range(2000)]
    for value in wanted:
        sent.send(value)
    assert producer.flush(PATIENCE_S) == 0
    assert sent.errors == []
    got = read(subscribed(topic, clients.consumer(f"reads-{topic}")), enough(2000))
    assert sorted(got) == sorted(wanted)


def test_read_committed_sees_committed_transactions_only(clients: Clients) -> None:
    topic = clients.topic("transactions")
    producer = clients.producer(transactional_id="tx-1")
    producer.init_transactions(PATIENCE_S)
    for number in range(6):
        producer.begin_transaction()
        for n in range(20):
            producer.produce(topic, value=f"{number}/{n}", key=str(n))
        assert producer.flush(PATIENCE_S) == 0
        (producer.abort_transaction if number % 2 else producer.commit_transaction)(PATIENCE_S)
    whole = {f"{number}/{n}" for number in range(6) for n in range(20)}
    committed = {value for value in whole if int(value[0]) % 2 == 0}
    reader = clients.consumer("committed", isolation_level="read_committed")
    got = read(subscribed(topic, reader), enough(len(committed)))
    got += read(reader, enough(1), patience_s=1)
    assert sorted(got) == sorted(committed)
    dirty = clients.consumer("uncommitted", isolation_level="read_uncommitted")
    assert set(read(subscribed(topic, dirty), enough(len(whole)))) == whole


def test_an_older_instance_is_fenced(clients: Clients) -> None:
    # The new instance asks again while the old one's transaction is being aborted, as with Apache Kafka.
    clients.expected = ("GETPID",)
    topic = clients.topic("fencing")
    old, new = (clients.producer(transactional_id="tx-fenced") for _ in range(2))
    old.init_transactions(PATIENCE_S)
    old.begin_transaction()
    old.produce(topic, value="from the old one")
    assert old.flush(PATIENCE_S) == 0
    new.init_transactions(PATIENCE_S)
    with pytest.raises(KafkaException) as refused:
        old.commit_transaction(PATIENCE_S)
    assert refused.value.args[0].fatal()
    new.begin_transaction()
    new.produce(topic, value="from the new one")
    new.commit_transaction(PATIENCE_S)
    reader = subscribed(topic, clients.consumer("fencing", isolation_level="read_committed"))
    assert read(reader, enough(2), patience_s=3) == ["from the new one"]


def test_offsets_travel_with_the_transaction(clients: Clients) -> None:
    source, target = clients.topic("source", 1), clients.topic("target", 1)
    filled = clients.producer()
    for n in range(10):
        filled.produce(source, value=str(n))
    assert filled.flush(PATIENCE_S) == 0
    reader = subscribed(source, clients.consumer("mover", enable_auto_commit=False))
    assert read(reader, enough(10)) == [str(n) for n in range(10)]
    producer = clients.producer(transactional_id="tx-mover")
    producer.init_transactions(PATIENCE_S)
    for end in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.produce(target, value="moved")
        position = reader.position(reader.assignment())
        producer.send_offsets_to_transaction(position, reader.consumer_group_metadata(), PATIENCE_S)
        end(PATIENCE_S)
        [committed] = reader.committed([TopicPartition(source, 0)], timeout=PATIENCE_S)
        assert committed.offset == (-1001 if end == producer.abort_transaction else 10)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_two_members_share_and_inherit(clients: Clients, strategy: str) -> None:
    topic = clients.topic(f"shared-{strategy}", partitions=4)
    first, second = (
        clients.consumer(f"sharing-{strategy}", partition_assignment_strategy=strategy) for _ in range(2)
    )
    first.subscribe([topic])
    poll_until([first], lambda: len(first.assignment()) == 4)
    second.subscribe([topic])
    poll_until([first, second], lambda: len(first.assignment()) == len(second.assignment()) == 2)
    owned = {p.partition for member in (first, second) for p in member.assignment()}
    assert owned == {0, 1, 2, 3}
    second.unsubscribe()
    poll_until([first, second], lambda: len(first.assignment()) == 4)


def test_offsets_by_time(clients: Clients) -> None:
    topic = clients.topic("timed", 1)
    producer = clients.producer()
    # What is older than a week is not kept.
    first_ms = int(time.time() * 1000) - 60_000
    for n in range(10):
        producer.produce(topic, value=str(n), timestamp=first_ms + n)
        producer.flush(PATIENCE_S)
    consumer = clients.consumer("timed")
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=PATIENCE_S) == (0, 10)
    asked = [TopicPartition(topic, 0, first_ms + 4)]
    assert consumer.offsets_for_times(asked, timeout=PATIENCE_S)[0].offset == 4


def test_what_the_broker_does_not_do_is_an_error_and_no_closed_connection(clients: Clients) -> None:
    topic = clients.topic("kept")
    admin = clients.admin
    with pytest.raises(KafkaException, match=r"(?i)unknown"):
        admin.delete_topics(["never-was"])["never-was"].result(timeout=PATIENCE_S)
    with pytest.raises(KafkaException, match="already exists"):
        admin.create_topics([NewTopic(topic, 1, 3)])[topic].result(timeout=PATIENCE_S)
    producer = clients.producer(message_max_bytes=4_000_000)
    refused: list[Any] = []
    producer.produce(topic, b"x" * 2_000_000, on_delivery=lambda error, message: refused.append(error))
    assert producer.flush(PATIENCE_S) == 0
    assert refused[0].name() == "MSG_SIZE_TOO_LARGE"


# ── a broker dies ────────────────────────────────────────────────────────────────────────────────────────

LIVED_S = 3.0
PAUSE_S = 0.002


@pytest.mark.parametrize("victim", ["b1", "b2", "b3"])
def test_produce_and_consume_survive_kill_9(tmp_path: Path, victim: str) -> None:
    """Whatever that broker was: leader, coordinator of the group, of the transaction, or none of them."""
    with up(tmp_path / "up") as running:
        clients = Clients(running.servers)
        clients.expected = ("FAIL",)
        topic = clients.topic("going-on")
        sent = Sent(clients.producer(enable_idempotence=True, linger_ms=5), topic)
        moving = clients.producer(transactional_id="tx-going-on")
        moving.init_transactions(PATIENCE_S)
        reader = subscribed(topic, clients.consumer("going-on", isolation_level="read_committed"))
        got: list[str] = []
        committed: list[str] = []
        count = 0
        started = time.monotonic()
        killed_at = None
        while killed_at is None or time.monotonic() < killed_at + 2 * LIVED_S:
            if killed_at is None and time.monotonic() > started + LIVED_S:
                running.kill_9(victim)
                killed_at = time.monotonic()
            count += 1
            sent.send(f"plain {count}")
            if count % 50 == 0:
                moving.begin_transaction()
                moving.produce(topic, value=f"moved {count}")
                moving.commit_transaction(PATIENCE_S)
                committed.append(f"moved {count}")
            got += values_of(reader.consume(100, timeout=PAUSE_S))
        assert sent.producer.flush(PATIENCE_S) == 0
        wanted = sorted([*(f"plain {n}" for n in range(1, count + 1)), *committed])
        # Distinct ones: a reader that lost its coordinator reads again what it had not committed.
        got += read(reader, lambda more: len({*got, *more}) >= len(wanted))

        assert sent.errors == []
        assert any(at > killed_at + 1 for at in sent.acknowledged_at)
        assert sorted(set(got)) == wanted
        assert len(got) - len(set(got)) <= len(wanted) // 2, "offsets are committed every five seconds"
        assert clients.complaints() == []
        assert "3 brokers" not in kcat_listing(running)
        others = {name: log for name, log in running.logs().items() if name != victim}
        assert set(others.values()) == {""}


def test_kcat_goes_on_when_the_leader_is_killed(tmp_path: Path) -> None:
    with up(tmp_path / "up") as running:
        made = Clients(running.servers)
        topic = made.topic("piped", partitions=1)
        leader = made.admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions[0].leader
        given = ("kcat", "-b", running.servers, "-t", topic)
        tail = subprocess.Popen([*given, "-C", "-u"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        head = subprocess.Popen(
            [*given, "-P", "-X", "enable.idempotence=true"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert head.stdin is not None
            assert tail.stdout is not None
            lines = [b"%d\n" % n for n in range(600)]
            for number, line in enumerate(lines):
                if number == len(lines) // 3:
                    running.kill_9(f"b{leader}")
                head.stdin.write(line)
                head.stdin.flush()
                time.sleep(0.01)
            head.stdin.close()
            assert head.wait(PATIENCE_S) == 0
            assert [tail.stdout.readline() for _ in lines] == lines
        finally:
            tail.kill()
            head.kill()


def kcat_listing(running: Up) -> str:
    alive = ",".join(n["address"] for n in running.nodes if n["role"] == "broker")
    return subprocess.run(["kcat", "-b", alive, "-L"], capture_output=True, text=True, timeout=60).stdout
