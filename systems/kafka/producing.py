"""A producer: aiokafka's, behind the capability's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition as LibraryPartition

from harness.capabilities import Consumer, DefiniteFailure, Sent, TopicPartition
from systems.kafka import kip890
from systems.kafka.consuming import AiokafkaConsumer
from systems.kafka.outcomes import ClientBroken, not_sent, outcomes

CLOSE_TIMEOUT_S = 2.0


class AiokafkaProducer:
    def __init__(
        self,
        library: Callable[..., Any],
        options: Mapping[str, Any],
        *,
        delivery_timeout_ms: int,
        clock_offset_ms: int = 0,
    ) -> None:
        self._library = library
        self._options = dict(options)
        self._delivery_timeout_s = delivery_timeout_ms / 1000
        self._clock_offset_ms = clock_offset_ms
        self._lines: dict[tuple[str, int | None], asyncio.Lock] = {}
        """Where a partition has no room, records are handed over in the order in which they came: a caller of Java's
        client blocks, and aiokafka's callers overtake each other."""
        self._producer: Any = None
        self._commit_refused = False

    async def start(self) -> None:
        self._producer = self._library(**self._options)
        # aiokafka gives a batch up after one request time-out, which is no retry at all; Java's
        # client retries until delivery.timeout.ms. (With idempotence aiokafka retries for ever.)
        self._producer._message_accumulator._batch_ttl = self._delivery_timeout_s
        async with outcomes():
            await self._producer.start()

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int | None = None
    ) -> Sent:
        await self._know(topic, partition)
        try:
            # aiokafka's compiled part asks the system for the time itself, past what this host's clock says.
            stamp_ms = time.time_ns() // 1_000_000 + self._clock_offset_ms
            async with self._lines.setdefault((topic, partition), asyncio.Lock()):
                delivery = await self._started.send(
                    topic, value, key=key, partition=partition, timestamp_ms=stamp_ms
                )
        except AssertionError as error:
            raise ClientBroken(f"assertion of the client library: {error}") from error
        except (kafka.KafkaError, kafka.IllegalOperation) as error:
            raise not_sent(error) from error
        async with outcomes():
            metadata = await delivery
        if metadata is None:
            return Sent(topic, -1 if partition is None else partition, None)
        return Sent(metadata.topic, metadata.partition, metadata.offset if metadata.offset >= 0 else None)

    async def _know(self, topic: str, partition: int | None) -> None:
        """A partition that was added since is news to aiokafka, which takes it for a mistake of the program."""
        client = self._started.client
        known = client.cluster.partitions_for_topic(topic)
        if partition is not None and known and partition not in known:
            await client.force_metadata_update()

    async def begin(self) -> None:
        async with outcomes():
            await self._usable().begin_transaction()

    async def send_offsets(self, offsets: Mapping[TopicPartition, int], consumer: Consumer) -> None:
        assert isinstance(consumer, AiokafkaConsumer)
        assert consumer.group is not None, "a consumer without a group has no offsets to commit"
        wanted = {LibraryPartition(*p): offset for p, offset in sorted(offsets.items())}
        producer = self._usable()
        async with outcomes():
            if isinstance(producer, kip890.Producer):
                await producer.send_offsets(wanted, consumer.group, consumer.member)
            else:
                await producer.send_offsets_to_transaction(wanted, consumer.group)

    async def commit(self) -> None:
        try:
            async with outcomes():
                await self._usable().commit_transaction()
        except DefiniteFailure:
            self._commit_refused = True
            raise
        self._commit_refused = False

    async def abort(self) -> None:
        """Where the coordinator has refused the commit, and now the abort too, it knows of no transaction:
        nothing is left that could be aborted."""
        if self._commit_refused and self._started._txn_manager.is_fatal_error():
            return
        try:
            async with outcomes():
                await self._usable().abort_transaction()
        except DefiniteFailure:
            if not self._commit_refused:
                raise
        self._commit_refused = False

    async def close(self) -> None:
        """Takes at most a few seconds, whatever the cluster does."""
        if self._producer is None:
            return
        producer, self._producer = self._producer, None
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.stop(), CLOSE_TIMEOUT_S)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.client.close(), CLOSE_TIMEOUT_S)

    @property
    def _started(self) -> Any:
        if self._producer is None:
            raise ClientBroken("the producer is not started, or closed")
        return self._producer

    def _usable(self) -> Any:
        """Raises what has broken the producer for good, which aiokafka only asserts."""
        producer = self._started
        transactions = producer._txn_manager
        if transactions is not None and transactions.is_fatal_error():
            waiter = transactions.wait_for_transaction_end()
            cause = waiter.exception() if waiter is not None and waiter.done() else None
            raise cause or ClientBroken("the producer has had a fatal error")
        return producer
