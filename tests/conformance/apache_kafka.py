"""A real Apache Kafka on 127.0.0.1: fetched once from Maven Central, formatted and started in about three seconds.

The jars are kept in `$XDG_CACHE_HOME/chaos-harness/kafka-VERSION` (`~/.cache` without that variable); a
cluster's folders and processes are gone when its context ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.node import Address

VERSION = "4.4.0"
SLF4J_VERSION = "1.7.36"
"""Kafka's jars bring no slf4j binding, and the log is what tells when a node is ready."""
FETCH_TIMEOUT_S = 300
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 10
MISSING = [program for program in ("java", "mvn") if shutil.which(program) is None]
"""What this machine lacks to run a real Kafka."""

_ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.kafka", "kafka-server", VERSION),
    ("org.apache.kafka", "kafka-tools", VERSION),
    ("org.slf4j", "slf4j-simple", SLF4J_VERSION),
)
_JAVA = ("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@contextmanager
def apache_kafka(*, nodes: int = 3, transaction_version: int = 2) -> Iterator[list[Address]]:
    """Runs a cluster of combined brokers and controllers; yields where the nodes listen, in order of their
    ids (1, 2, …). Raises `RuntimeError` with the log of a node that does not start."""
    class_path = str(jars() / "*")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-kafka-")))
        ports = _free_ports(2 * nodes)
        brokers, controllers = ports[:nodes], ports[nodes:]
        cluster_id = _tool(class_path, "random-uuid").strip()
        for index in range(nodes):
            properties = folder / f"{index + 1}.properties"
            properties.write_text(_properties(index, brokers, controllers, folder / f"data-{index + 1}"))
            _tool(
                class_path,
                *("format", "-t", cluster_id, "-c", str(properties)),
                *("--feature", f"transaction.version={transaction_version}"),
            )
        logs = [folder / f"{index + 1}.log" for index in range(nodes)]
        processes = [
            stack.enter_context(_node(class_path, folder / f"{index + 1}.properties", logs[index]))
            for index in range(nodes)
        ]
        for process, log in zip(processes, logs, strict=True):
            _wait_until_started(process, log)
        yield [Address("127.0.0.1", port) for port in brokers]


def jars() -> Path:
    """The folder with the class path; fetches it first where it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chaos-harness"
    jars = cache / f"kafka-{VERSION}"
    if jars.exists():
        return jars
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as folder:
        dependencies = "".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
            f"<version>{version}</version></dependency>"
            for group, name, version in _ARTIFACTS
        )
        (Path(folder) / "pom.xml").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            "<groupId>local</groupId><artifactId>class-path</artifactId><version>1</version>"
            f"<packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
        )
        target = Path(folder) / "jars"
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
        if done.returncode != 0:
            raise RuntimeError(f"Maven could not fetch Kafka {VERSION}:\n{done.stdout}{done.stderr}")
        target.rename(jars)
    return jars


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [int(held.getsockname()[1]) for held in sockets]


def _tool(class_path: str, *arguments: str) -> str:
    done = subprocess.run(
        [*_JAVA, "-cp", class_path, "kafka.tools.StorageTool", *arguments],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"kafka-storage {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _properties(index: int, brokers: list[int], controllers: list[int], data: Path) -> str:
    voters = ",".join(f"{i + 1}@127.0.0.1:{port}" for i, port in enumerate(controllers))
    replication = min(3, len(brokers))
    in_sync = max(1, replication - 1)
    here = f"PLAINTEXT://127.0.0.1:{brokers[index]}"
    # Records of the scripts are years old: neither retention nor a segment's age may show in the answers.
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": index + 1,
        "controller.quorum.voters": voters,
        "listeners": f"{here},CONTROLLER://127.0.0.1:{controllers[index]}",
        "advertised.listeners": here,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "log.retention.ms": -1,
        "log.roll.ms": 10**15,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
        "group.min.session.timeout.ms": 1000,
        "default.replication.factor": replication,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replication,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": replication,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replication,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": 0,
        # A consumer group's target is computed by the heartbeat that calls for it, not some time later.
        "group.consumer.min.assignment.interval.ms": 0,
        "group.consumer.assignment.interval.ms": 0,
        "group.consumer.assignor.offload.enable": "false",
        "transaction.max.timeout.ms": 900_000,
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "replica.lag.time.max.ms": 3000,
        "controller.quorum.election.timeout.ms": 500,
        "controller.quorum.fetch.timeout.ms": 1000,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


@contextmanager
def _node(class_path: str, properties: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*_JAVA, "-cp", class_path, "kafka.Kafka", str(properties)], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        # Its data is thrown away: nothing is gained by an orderly stop, which takes two seconds a node.
        process.kill()
        process.wait(STOP_TIMEOUT_S)


def _wait_until_started(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while "Kafka Server started" not in (text := log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Kafka did not start:\n{text[-4000:]}")
        time.sleep(0.05)
