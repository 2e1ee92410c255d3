"""Several produce requests under way to one broker, and batches that are sent again in their order.

aiokafka keeps one request under way to each broker and one batch of each partition. Java's client keeps up to
`max.in.flight.requests.per.connection`, and these are its rules (KIP-98, KIP-360; RecordAccumulator, TransactionManager):

- To a broker that it has yet to connect to it sends one request; what follows it has to arrive behind it.
- Without idempotence a failed batch goes back to the head of its queue, before or behind what was sent after it.
- With it, failed batches line up by their sequence, and OUT_OF_ORDER_SEQUENCE_NUMBER for a batch in front of which
  another one is still under way means no more than that: it is sent again behind it.
- For the next batch in line it means that broker and client disagree. An idempotent producer goes on under a new
  epoch and sends what is under way to that partition again, numbered from 0; to another partition it sends
  nothing new before its own old batches are done with.
- A batch of a transaction is given up after `delivery.timeout.ms`, and its transaction with it.
"""

from __future__ import annotations

import collections
import struct
from collections.abc import Iterator
from typing import Any

from aiokafka import errors as kafka
from aiokafka.client import ConnectionGroup
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

SEQUENCE_LOST = (kafka.OutOfOrderSequenceNumber, kafka.UnknownProducerId)

_CRC, _CRC_AT = struct.Struct(">I"), 17
_CRC_COVERS_FROM = 21
_PRODUCER, _PRODUCER_AT = struct.Struct(">qhi"), 43
"""Producer id, epoch and base sequence in a record batch (magic 2)."""


class Accumulator(MessageAccumulator):
    """Batches by partition, which know their place in line."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sent = 0
        self._places: dict[MessageBatch, int] = {}
        self._identities: dict[MessageBatch, tuple[int, int]] = {}
        self._renumbered: dict[TopicPartition, tuple[int, int]] = {}

    def renumber(self, partition: TopicPartition) -> None:
        """What is under way to it is sent again under the producer's present identity, numbered from 0."""
        self._renumbered[partition] = self._identity()

    def is_behind_another(self, batch: MessageBatch) -> bool:
        """Whether a batch that was sent before it to its partition is not done with, or has got a new number since."""
        own = self._places[batch]
        return self._is_outdated(batch) or any(
            self._places[other] < own for other in self._under_way(batch.tp)
        )

    def reenqueue(self, batch: MessageBatch) -> None:
        super().reenqueue(batch)
        if self._txn_manager is None:
            return
        queue = self._batches[batch.tp]
        again = sorted((b for b in queue if b in self._places), key=self._places.__getitem__)
        fresh = [b for b in queue if b not in self._places]
        self._batches[batch.tp] = collections.deque((*again, *fresh))

    def drain_by_nodes(self, ignore_nodes: Any, muted_partitions: Any = frozenset()) -> Any:
        waiting = {partition for partition in self._batches if self._waits_for_old_batches(partition)}
        return super().drain_by_nodes(ignore_nodes, muted_partitions | waiting)

    def look_again(self) -> None:
        """Wakes whoever waits for something to send."""
        if not self._waiter_future.done():
            self._waiter_future.set_result(None)

    def _pop_batch(self, tp: TopicPartition) -> MessageBatch:
        again = self._batches[tp][0] in self._places
        batch = super()._pop_batch(tp)
        if self._txn_manager is None:
            return batch
        if not again:
            self._sent += 1
            self._places[batch] = self._sent
            self._identities[batch] = self._identity()
            batch.future.add_done_callback(lambda _: self._forget(batch))
        elif self._is_outdated(batch):
            self._identities[batch] = self._identity()
            sequence = self._txn_manager.sequence_number(tp)
            self._txn_manager.increment_sequence_number(tp, batch.record_count)
            _renumber(batch.get_data_buffer(), (*self._identity(), sequence))
        return batch

    def _forget(self, batch: MessageBatch) -> None:
        del self._places[batch]
        del self._identities[batch]

    def _identity(self) -> tuple[int, int]:
        assert self._txn_manager is not None
        return self._txn_manager.producer_id, self._txn_manager.producer_epoch

    def _is_outdated(self, batch: MessageBatch) -> bool:
        """Its partition was renumbered, and it was not yet."""
        present = self._renumbered.get(batch.tp)
        return present is not None and present == self._identity() and self._identities[batch] != present

    def _waits_for_old_batches(self, partition: TopicPartition) -> bool:
        if self._txn_manager is None or self._batches[partition][0] in self._places:
            return False
        return any(self._identities[b] != self._identity() for b in self._under_way(partition))

    def _under_way(self, partition: TopicPartition) -> Iterator[MessageBatch]:
        return (batch for batch in self._places if batch.tp == partition)


class Pipelining(Sender):
    """A sender with up to `most_in_flight` produce requests at a time to each broker."""

    most_in_flight = 1
    _message_accumulator: Accumulator

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._requests: collections.Counter[int] = collections.Counter()
        self._held: collections.Counter[TopicPartition] = collections.Counter()

    async def start(self) -> None:
        await super().start()
        if self.most_in_flight > 1:
            # What waits behind a silent leader can go to its successor.
            self.client.cluster.add_listener(lambda _: self._message_accumulator.look_again())

    def produce(self, batches: dict[Any, Any]) -> Produce:
        """The handler of one produce request."""
        return Produce(self, batches)

    def hold(self, partition: TopicPartition) -> None:
        """Nothing is sent to it until as many `release`: a batch waits to be sent again."""
        self._held[partition] += 1
        self._muted_partitions.add(partition)

    def release(self, partition: TopicPartition) -> None:
        self._held[partition] -= 1
        if not self._held[partition]:
            self._muted_partitions.discard(partition)

    async def _send_produce_req(self, node_id: int, batches: dict[Any, Any]) -> None:
        self._requests[node_id] += 1
        pipelines = self.most_in_flight > 1 and self._is_connected(node_id)
        if pipelines:
            self._muted_partitions.difference_update(batches)
            if self._requests[node_id] < self.most_in_flight:
                self._in_flight.discard(node_id)
            self._message_accumulator.look_again()
        await self.produce(batches).do(node_id)
        self._requests[node_id] -= 1
        self._in_flight.discard(node_id)
        if not pipelines:
            self._muted_partitions.difference_update(p for p in batches if not self._held[p])

    def _is_connected(self, node_id: int) -> bool:
        """Until it is, requests under way to a broker could overtake each other."""
        connection = self.client._conns.get((node_id, ConnectionGroup.DEFAULT))
        return connection is not None and connection.connected()


class Produce(SendProduceReqHandler):
    """One produce request, and what becomes of its batches."""

    def __init__(self, sender: Pipelining, batches: dict[Any, Any]) -> None:
        super().__init__(sender, batches)
        self._held: list[TopicPartition] = []

    async def do(self, node_id: int) -> None:
        await super().do(node_id)
        for partition in self._held:
            self._sender.release(partition)

    def _can_retry(self, error: Exception, batch: MessageBatch) -> bool:
        transactions = self._sender._txn_manager
        if transactions is not None and transactions.transactional_id is not None and batch.expired():
            # Whatever became of it, the abort of its transaction settles it.
            transactions.sequence_lost()
            return False
        again = super()._can_retry(error, batch)
        if isinstance(error, SEQUENCE_LOST) and transactions is not None:
            again = self._goes_on(batch)
        if again:
            self._held.append(batch.tp)
            self._sender.hold(batch.tp)
        return bool(again)

    def _goes_on(self, batch: MessageBatch) -> bool:
        """The broker expects another sequence (KIP-360)."""
        line: Accumulator = self._sender._message_accumulator
        if line.is_behind_another(batch):
            return True
        transactions = self._sender._txn_manager
        transactions.sequence_lost()
        if transactions.transactional_id is not None or not transactions.has_pid():
            return False
        line.renumber(batch.tp)
        return True


def _renumber(batch: bytearray, producer: tuple[int, int, int]) -> None:
    """(producer id, epoch, base sequence) of a batch that is encoded already."""
    _PRODUCER.pack_into(batch, _PRODUCER_AT, *producer)
    _CRC.pack_into(batch, _CRC_AT, calc_crc32c(memoryview(batch)[_CRC_COVERS_FROM:]))
