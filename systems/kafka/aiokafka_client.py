"""The capability `log` (with `transactions` and `groups`) through aiokafka, on anything that speaks Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreatePartitionsRequest, CreateTopicsRequest

from harness.capabilities import Consumer, GroupMember, Producer
from harness.node import Address
from systems.kafka import kip890
from systems.kafka.consuming import AiokafkaConsumer
from systems.kafka.node_order import pin_node_order
from systems.kafka.outcomes import outcomes
from systems.kafka.producing import AiokafkaProducer
from systems.kafka.settings import AIOKAFKA_PLAIN, CLIENT_SETTINGS, CONSUMER_PROTOCOL

CREATE_TOPIC_TIMEOUT_S = 60.0
_DEFAULTS = {setting.name: setting.default for setting in CLIENT_SETTINGS}
_TOPIC_REQUEST_MS = 3000


class AiokafkaLog:
    """One client host's way to the cluster. Settings come from the run's configuration."""

    def __init__(self, brokers: Sequence[Address], host: str, config: Mapping[str, Any]) -> None:
        """`brokers`: where this host reaches each of them."""
        pin_node_order()
        self._bootstrap = [f"{address.host}:{address.port}" for address in brokers]
        self._host = host
        self._config = _DEFAULTS | dict(config)
        self._plain = self._config["client"] == AIOKAFKA_PLAIN
        new = self._config["group.protocol"] == CONSUMER_PROTOCOL
        self._assignor: str | None = self._config["group.remote.assignor"] if new else None

    async def create_topic(
        self, topic: str, *, partitions: int, replication_factor: int, config: Mapping[str, str] | None = None
    ) -> None:
        wanted: tuple[Any, ...] = (topic, partitions, replication_factor, [], sorted((config or {}).items()))
        async with self._client() as client, asyncio.timeout(CREATE_TOPIC_TIMEOUT_S), outcomes():
            for _ in itertools.count():
                if await self._create(client, wanted) and await _usable(client, topic, partitions):
                    return
                await asyncio.sleep(self._config["retry.backoff.ms"] / 1000)

    async def add_partitions(self, topic: str, total: int) -> None:
        request = CreatePartitionsRequest([(topic, (total, None))], _TOPIC_REQUEST_MS, False)
        async with self._client() as client, asyncio.timeout(CREATE_TOPIC_TIMEOUT_S), outcomes():
            while not await _usable(client, topic, total):
                with contextlib.suppress(*_TRANSIENT):
                    # What it answers shows in the metadata.
                    await client.send(client.get_random_node(), request)
                await asyncio.sleep(self._config["retry.backoff.ms"] / 1000)

    def producer(self, *, transactional_id: str | None = None) -> Producer:
        config = self._config
        acks = "all" if transactional_id is not None else config["acks"]
        options: dict[str, Any] = self._common() | {
            "acks": acks if acks == "all" else int(acks),
            "enable_idempotence": config["enable.idempotence"] and acks == "all",
            "linger_ms": config["linger.ms"],
            "max_batch_size": config["batch.size"],
            "transactional_id": transactional_id,
            "transaction_timeout_ms": config["transaction.timeout.ms"],
        }
        delivery_ms = config["delivery.timeout.ms"] if config["retries"] else 0
        library: Any = AIOKafkaProducer
        if not self._plain:
            # The cluster's setting, when the system under test has one, stands for its finalized feature.
            version = int(config.get("transaction.version", 2))
            library = partial(
                kip890.Producer,
                transaction_version=version,
                most_in_flight=config["max.in.flight.requests.per.connection"],
                adds_all_partitions=config["transaction.add.partitions"] == "all",
            )
        return AiokafkaProducer(
            library,
            options,
            delivery_timeout_ms=delivery_ms,
            clock_offset_ms=config["producer.clock.offset.ms"],
        )

    async def consumer(self, *, group: str | None = None, isolation: str | None = None) -> Consumer:
        library = AIOKafkaConsumer if self._plain else kip890.Consumer
        consumer = AiokafkaConsumer(
            library,
            self._consumer_options(group, isolation),
            assignor=None if group is None else self._assignor,
        )
        await consumer.start()
        return consumer

    async def member(self, *, group: str, instance: str | None = None) -> GroupMember:
        config = self._config
        options = self._consumer_options(group, None) | {
            "group_instance_id": instance,
            "rebalance_timeout_ms": config["max.poll.interval.ms"],
        }
        library = AIOKafkaConsumer if self._plain else kip890.Consumer
        strategy = config["partition.assignment.strategy"] if self._assignor is None else None
        consumer = AiokafkaConsumer(library, options, strategy=strategy, assignor=self._assignor)
        await consumer.start()
        return consumer

    def _consumer_options(self, group: str | None, isolation: str | None) -> dict[str, Any]:
        config = self._config
        return self._common() | {
            "group_id": group,
            "enable_auto_commit": False,
            "isolation_level": isolation or config["isolation.level"],
            "auto_offset_reset": config["auto.offset.reset"],
            "session_timeout_ms": config["session.timeout.ms"],
            "heartbeat_interval_ms": config["heartbeat.interval.ms"],
            "max_poll_interval_ms": config["max.poll.interval.ms"],
            "fetch_max_wait_ms": config["fetch.max.wait.ms"],
        }

    async def partitions(self, topic: str) -> int:
        async with self._client() as client, outcomes():
            return len(await client._wait_on_metadata(topic))

    def _common(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self._bootstrap,
            # The library numbers its clients per process; a run must not depend on what ran before it.
            "client_id": self._host,
            "request_timeout_ms": self._config["request.timeout.ms"],
            "retry_backoff_ms": self._config["retry.backoff.ms"],
            "metadata_max_age_ms": self._config["metadata.max.age.ms"],
        }

    @contextlib.asynccontextmanager
    async def _client(self) -> Any:
        client = AIOKafkaClient(**self._common())
        async with outcomes():
            await client.bootstrap()
        try:
            yield client
        finally:
            await client.close()

    async def _create(self, client: Any, wanted: tuple[Any, ...]) -> bool:
        """Whether the topic exists now. Raises what trying again cannot change."""
        request = CreateTopicsRequest([wanted], _TOPIC_REQUEST_MS, False)
        try:
            response = await client.send(client.get_random_node(), request)
        except kafka.KafkaError as error:
            if not error.retriable:
                raise
            return False
        for _, code, *message in response.topic_errors:
            error_type = kafka.for_code(code)
            if error_type in (kafka.NoError, kafka.TopicAlreadyExistsError):
                continue
            if error_type.retriable or error_type in _ASK_AGAIN:
                return False
            raise error_type(*message)
        return True


_TRANSIENT = (kafka.KafkaConnectionError, kafka.RequestTimedOutError, kafka.NodeNotReadyError)
_ASK_AGAIN = (kafka.InvalidReplicationFactorError, kafka.NotControllerError)
"""Brokers that are still starting up do not count for the replication factor yet."""


async def _usable(client: Any, topic: str, partitions: int) -> bool:
    """Does every partition have a leader, as this client's metadata knows it?"""
    client.add_topic(topic)
    await client.force_metadata_update()
    known = client.cluster.available_partitions_for_topic(topic)
    return known is not None and len(known) >= partitions
