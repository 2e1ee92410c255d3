"""What replication, acknowledgements and transactions cost on the bundled broker, as ratios within one run.

    python benchmarks/broker.py              three real brokers against one, by the same client (librdkafka)
    python benchmarks/broker.py --sendfile   large fetches from the file to the socket against those read first
    python benchmarks/broker.py --json       one object a line

Every figure is the median of a few rounds that take turns, so that whatever else the machine does meets all alike.
Records have 1,000 bytes; a round produces them as fast as the client can, then reads them back. With `--sendfile` they
have 100,000, so that the client does little else than receive them; the broker's processor time is measured too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

CHAOS = (sys.executable, "-c", "from harness.cli import main; main()")
RECORD = b"x" * 1_000
RECORDS = 10_000
TRANSACTION = 500
"""Records of one transaction."""
ROUNDS = 3
PATIENCE_S = 60


class Cluster(NamedTuple):
    servers: str
    """To bootstrap from."""
    pids: tuple[int, ...]
    """Of its brokers."""


@contextlib.contextmanager
def cluster(nodes: int, **config: object) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory() as folder:
        words = ["--nodes", str(nodes), "--dir", f"{folder}/up", "--json"]
        if nodes < 3:
            config = {"replication_factor": nodes, "min_insync_replicas": nodes} | config
        for key, value in config.items():
            words += ["--set", f"{key.replace('_', '.')}={value}"]
        process = subprocess.Popen([*CHAOS, "up", "broker", *words], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            pids = tuple(node["pid"] for node in told["nodes"] if node["role"] == "broker")
            yield Cluster(told["bootstrap_servers"], pids)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


def topic(servers: str, replicas: int) -> str:
    name = uuid.uuid4().hex
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(name, 1, replicas)])[name].result(PATIENCE_S)
    return name


def produce(servers: str, name: str, **settings: Any) -> float:
    """Records a second, from the first send to the last acknowledgement."""
    transactional = "transactional_id" in settings
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 5, "queue.buffering.max.messages": RECORDS * 2}
        | {key.replace("_", "."): value for key, value in settings.items()}
    )
    if transactional:
        producer.init_transactions(PATIENCE_S)
    producer.list_topics(name, timeout=PATIENCE_S)
    began = time.perf_counter()
    for number in range(RECORDS):
        if transactional and number % TRANSACTION == 0:
            if number:
                producer.commit_transaction(PATIENCE_S)
            producer.begin_transaction()
        producer.produce(name, RECORD, partition=0)
        producer.poll(0)
    if transactional:
        producer.commit_transaction(PATIENCE_S)
    assert producer.flush(PATIENCE_S) == 0
    return RECORDS / (time.perf_counter() - began)


def consume(servers: str, name: str, **settings: Any) -> float:
    """Records a second, from the first one on."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": uuid.uuid4().hex}
        | {key.replace("_", "."): value for key, value in settings.items()}
    )
    consumer.assign([TopicPartition(name, 0, 0)])
    found, began = 0, 0.0
    while found < RECORDS:
        messages = consumer.consume(1_000, 1.0)
        if messages and not began:
            began = time.perf_counter()
            found += len(messages)
            counted_from = found
            continue
        found += len(messages)
    seconds = time.perf_counter() - began
    consumer.close()
    return (found - counted_from) / seconds


def measured(one: str, three: str) -> dict[str, float]:
    """Medians, records a second."""
    of_one, of_three = topic(one, 1), topic(three, 3)
    rounds: dict[str, Callable[[], float]] = {
        "produce, acks=all, 1 broker": lambda: produce(one, of_one, acks="all"),
        "produce, acks=all, 3 brokers": lambda: produce(three, of_three, acks="all"),
        "produce, acks=1, 3 brokers": lambda: produce(three, of_three, acks="1"),
        "produce, acks=0, 3 brokers": lambda: produce(three, of_three, acks="0"),
        "produce, transactions, 3 brokers": lambda: produce(
            three, of_three, transactional_id=uuid.uuid4().hex
        ),
        "consume, 1 broker": lambda: consume(one, of_one),
        "consume, 3 brokers": lambda: consume(three, of_three),
    }
    found: dict[str, list[float]] = {name: [] for name in rounds}
    for _ in range(ROUNDS):
        for name, measure in rounds.items():
            found[name].append(measure())
    return {name: statistics.median(values) for name, values in found.items()}


LARGE_RECORD = os.urandom(100_000)
LARGE_RECORDS = 500
LARGE_FETCH_BYTES = 16 << 20
FROM_FILE, READ_FIRST = "fetch, sendfile", "fetch, read first"


def fill(servers: str) -> str:
    """A topic with fifty megabytes in one partition."""
    name = topic(servers, 1)
    producer = Producer({"bootstrap.servers": servers})
    for _ in range(LARGE_RECORDS):
        producer.produce(name, LARGE_RECORD, partition=0)
        producer.poll(0.001)
    assert producer.flush(PATIENCE_S) == 0
    return name


def fetch(running: Cluster, name: str) -> tuple[float, float]:
    """Megabytes a second, and milliseconds of the broker's processor time for each."""
    consumer = Consumer(
        {
            "bootstrap.servers": running.servers,
            "group.id": uuid.uuid4().hex,
            "fetch.max.bytes": LARGE_FETCH_BYTES,
            "max.partition.fetch.bytes": LARGE_FETCH_BYTES,
            "check.crcs": False,
        }
    )
    consumer.assign([TopicPartition(name, 0, 0)])
    used, began, found = processor_s(running), time.perf_counter(), 0
    while found < LARGE_RECORDS:
        found += len(consumer.consume(100, 1.0))
    seconds, used = time.perf_counter() - began, processor_s(running) - used
    consumer.close()
    megabytes = LARGE_RECORDS * len(LARGE_RECORD) / 1e6
    return megabytes / seconds, 1000 * used / megabytes


def processor_s(running: Cluster) -> float:
    """Of all brokers since they started."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in running.pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def measured_sendfile(as_json: bool) -> None:
    never = 1 << 40
    with (
        cluster(1, log_segment_bytes=1 << 28) as file,
        cluster(1, log_segment_bytes=1 << 28, fetch_sendfile_min_bytes=never) as read,
    ):
        sides = {FROM_FILE: (file, fill(file.servers)), READ_FIRST: (read, fill(read.servers))}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(2 * ROUNDS):
            for side, (running, name) in sides.items():
                found[side].append(fetch(running, name))
    medians = {
        side: [statistics.median(column) for column in zip(*rows, strict=True)]
        for side, rows in found.items()
    }
    for side, (rate, used) in medians.items():
        ratio, less = rate / medians[READ_FIRST][0], used / medians[READ_FIRST][1]
        if as_json:
            print(json.dumps({"what": side, "mb_per_second": round(rate), "ratio": round(ratio, 2)}))
        else:
            print(f"{side:20} {rate:7,.0f} MB/s × {ratio:.2f}   processor {used:.2f} ms/MB × {less:.2f}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--sendfile", action="store_true")
    given = arguments.parse_args()
    as_json = given.json
    if given.sendfile:
        measured_sendfile(as_json)
        return
    with cluster(1) as one, cluster(3) as three:
        rates = measured(one.servers, three.servers)
    base = rates["produce, acks=all, 3 brokers"]
    for name, rate in rates.items():
        against = rates["consume, 1 broker"] if name.startswith("consume") else base
        ratio = rate / against
        if as_json:
            print(json.dumps({"what": name, "records_per_second": round(rate), "ratio": round(ratio, 2)}))
        else:
            print(f"{name:36} {rate:10,.0f} records/s   × {ratio:.2f}")
    if not as_json:
        print(f"{os.cpu_count()} cores, records of {len(RECORD)} bytes, {RECORDS:,} a round, {ROUNDS} rounds")


if __name__ == "__main__":
    main()
