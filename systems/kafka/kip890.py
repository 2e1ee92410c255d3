"""aiokafka 0.14, extended by what exactly-once needs (DESIGN section 6):

- EndTxn v5 (KIP-890, transaction version 2): each transaction's end bumps the producer's epoch, and the
  next transaction runs under it. Partitions are still added explicitly before they are written to: a
  transaction version 2 broker accepts both ways, and aiokafka's own ProduceRequest ends at v8.
- TxnOffsetCommit v3 (KIP-447) with the member and generation under which the offsets were *polled*, so that
  a consumer that has lost its partitions is fenced; a refusal aborts instead of killing the producer.
- OffsetFetch v7 with require_stable, and its error code looked at: aiokafka takes an error of the whole
  answer (a coordinator that moved) for "nothing committed" and starts over from the beginning.
- After OUT_OF_ORDER_SEQUENCE_NUMBER a new epoch (KIP-360) instead of a sender that can never send again, and several
  requests under way to a broker (`pipelining`).
- After DUPLICATE_SEQUENCE_NUMBER no offset, since the answer carries none.
- A refused commit can be followed by an abort, after which the producer goes on.
- OFFSET_OUT_OF_RANGE of a leader that may be an old one resets no position (`stale_leaders`).
- A connection that breaks while the coordinator is looked for is dialled again, instead of ending the sender.
- An abortable error does not make it forget that the transaction has partitions: otherwise the abort is
  never sent, and the records join the next transaction.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import logging
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import errors as kafka
from aiokafka.client import CoordinationType
from aiokafka.producer.sender import (
    AddOffsetsToTxnHandler,
    EndTxnHandler,
    TxnOffsetCommitHandler,
)
from aiokafka.producer.transaction_manager import (
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    PidAndEpoch,
    TransactionManager,
    TransactionState,
)
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from aiokafka.util import create_future

from systems.kafka.pipelining import Accumulator, Pipelining, Produce
from systems.kafka.protocol import EndTxn, OffsetFetch, TxnOffsetCommit
from systems.kafka.stale_leaders import PatientFetches

log = logging.getLogger(__name__)

_PRODUCER_FENCED = 90
_UNSTABLE_OFFSET_COMMIT = 88
_TRANSACTION_ABORTABLE = 120
_INVALID_TXN_STATE = kafka.InvalidTxnState.errno
_DUPLICATE_SEQUENCE = kafka.DuplicateSequenceNumber.errno
_GROUP_FENCED = (
    kafka.IllegalGenerationError,
    kafka.UnknownMemberIdError,
    kafka.RebalanceInProgressError,
)
_MAX_EPOCH = 32766

Member = tuple[int, str]
"""(generation, member id); (-1, "") without a group membership."""


class UnstableOffsets(kafka.GroupLoadInProgressError):
    """A transaction that moves the offset has not ended yet: ask again."""


class Transactions(TransactionManager):
    """The producer's state, with an epoch that changes while it lives."""

    def __init__(self, transactional_id: str | None, transaction_timeout_ms: int) -> None:
        super().__init__(transactional_id, transaction_timeout_ms)
        self.member: Member = (-1, "")
        self._pid_and_epoch = PidAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
        self._pid_waiter: asyncio.Future[None] = create_future()
        self._txn_consumer_group: str | None = None
        self._transaction_waiter: asyncio.Future[None] | None = None
        self._sequence_lost = False
        self.adds_all_partitions = True

    def maybe_add_partition_to_txn(self, tp: TopicPartition) -> None:
        if self.adds_all_partitions or not (self._txn_partitions or self._pending_txn_partitions):
            super().maybe_add_partition_to_txn(tp)

    def set_pid_and_epoch(self, pid: int, epoch: int) -> None:
        if self._pid_and_epoch != (pid, epoch):
            self._sequence_numbers.clear()
        self._pid_and_epoch = PidAndEpoch(pid, epoch)
        if not self._pid_waiter.done():
            self._pid_waiter.set_result(None)
        if self.transactional_id and self.state == TransactionState.UNINITIALIZED:
            self._transition_to(TransactionState.READY)

    def sequence_lost(self) -> None:
        """KIP-360: the broker and we disagree about sequence numbers. The failed batch was reported; a new
        epoch starts them over, in a transactional producer when its transaction has been aborted."""
        if self.transactional_id is not None:
            self._sequence_lost = True
        elif self.producer_epoch < _MAX_EPOCH:
            self.set_pid_and_epoch(self.producer_id, self.producer_epoch + 1)
        else:
            self._pid_and_epoch = PidAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
            self._pid_waiter = create_future()

    def transaction_ended(self, next_epoch: tuple[int, int] | None) -> None:
        """EndTxn succeeded; version 5 said under which (producer id, epoch) to go on."""
        if next_epoch is not None:
            self.set_pid_and_epoch(*next_epoch)
        elif self._sequence_lost:
            # Without it the only way to a new epoch is InitProducerId: the sender asks before it goes on.
            self._pid_and_epoch = PidAndEpoch(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
            self._sequence_numbers.clear()
            self._pid_waiter = create_future()
        self._sequence_lost = False
        self.complete_transaction()

    def error_transaction(self, exc: BaseException) -> None:
        partitions, group = set(self._txn_partitions), self._txn_consumer_group
        super().error_transaction(exc)
        self._txn_partitions.update(partitions)
        self._txn_consumer_group = group
        _heard(self._transaction_waiter)

    def fatal_error(self, exc: BaseException) -> None:
        if self._transaction_waiter is None:
            self._transaction_waiter = create_future()
        super().fatal_error(exc)
        _heard(self._transaction_waiter)


def _heard(waiter: asyncio.Future[None] | None) -> None:
    """Whoever acts next is told of the error; that nobody waits for it now is no mistake."""
    if waiter is not None and waiter.done():
        waiter.exception()


class _EndTxn(EndTxnHandler):
    def create_request(self) -> Any:
        txn = self._sender._txn_manager
        request = EndTxn if self._sender.transaction_version >= 2 else EndTxnRequest
        return request(txn.transactional_id, txn.producer_id, txn.producer_epoch, bool(self._commit_result))

    def handle_response(self, resp: Any) -> float | None:
        if resp.error_code == _PRODUCER_FENCED:
            raise kafka.ProducerFenced()
        if self._commit_result and resp.error_code in (_TRANSACTION_ABORTABLE, _INVALID_TXN_STATE):
            # There is nothing (any more) that could be committed, after a time-out for instance.
            self._sender._txn_manager.error_transaction(kafka.for_code(_INVALID_TXN_STATE)())
            return None
        if resp.error_code != 0:
            backoff: float | None = super().handle_response(resp)
            return backoff
        bumped = (resp.producer_id, resp.producer_epoch) if resp.API_VERSION >= 5 else None
        self._sender._txn_manager.transaction_ended(bumped)
        return None


class _TxnOffsetCommit(TxnOffsetCommitHandler):
    def create_request(self) -> TxnOffsetCommit:
        txn = self._sender._txn_manager
        offsets = collections.defaultdict(list)
        for partition, offset in sorted(self._offsets.items()):
            offsets[partition.topic].append((partition.partition, offset.offset, offset.metadata))
        return TxnOffsetCommit(
            txn.transactional_id,
            self._group_id,
            (txn.producer_id, txn.producer_epoch),
            txn.member,
            list(offsets.items()),
        )

    def handle_response(self, resp: Any) -> float | None:
        topics = [(entry[0], [answer[:2] for answer in entry[1]]) for entry in resp.errors]
        for _, partitions in topics:
            for _, code in partitions:
                if code == _PRODUCER_FENCED:
                    raise kafka.ProducerFenced()
                if code == _TRANSACTION_ABORTABLE or kafka.for_code(code) in (
                    *_GROUP_FENCED,
                    kafka.InvalidTxnState,
                ):
                    self._sender._txn_manager.error_transaction(_abortable(code))
                    return None
        backoff: float | None = super().handle_response(_Errors(topics))
        return backoff


class _AddOffsets(AddOffsetsToTxnHandler):
    def handle_response(self, resp: Any) -> float | None:
        if resp.error_code == _TRANSACTION_ABORTABLE:
            self._sender._txn_manager.error_transaction(_abortable(resp.error_code))
            return None
        backoff: float | None = super().handle_response(resp)
        return backoff


class _Errors:
    """The part of a response that aiokafka's own handler reads."""

    def __init__(self, errors: list[Any]) -> None:
        self.errors = errors


def _abortable(code: int) -> kafka.KafkaError:
    """The application may abort and go on. (`IllegalStateError` stands for what aiokafka has no name for.)"""
    if code == _TRANSACTION_ABORTABLE:
        return kafka.IllegalStateError("TRANSACTION_ABORTABLE")
    return kafka.CommitFailedError(f"{kafka.for_code(code).__name__}: the transaction must be aborted")


class _Produce(Produce):
    def handle_response(self, response: Any) -> None:
        for topic, partitions in response.topics:
            for index, code, *_ in partitions:
                batch = self._batches.get(TopicPartition(topic, index))
                if batch is not None and code == _DUPLICATE_SEQUENCE:
                    batch.done_noack()
        super().handle_response(response)


class _Sender(Pipelining):
    transaction_version = 2

    def produce(self, batches: dict[Any, Any]) -> Produce:
        return _Produce(self, batches)

    async def _find_coordinator(self, coordinator_type: Any, coordinator_key: str) -> Any:
        for _ in itertools.count():
            try:
                return await super()._find_coordinator(coordinator_type, coordinator_key)
            except kafka.KafkaError as error:
                if not getattr(error.__cause__, "retriable", False):
                    raise
                await self.client.force_metadata_update()
                await asyncio.sleep(self._retry_backoff)
        raise AssertionError("unreachable")

    async def _do_add_offsets_to_txn(self, group_id: str) -> Any:
        node_id = await self._find_coordinator(
            CoordinationType.TRANSACTION, self._txn_manager.transactional_id
        )
        return await _AddOffsets(self, group_id).do(node_id)

    async def _do_txn_offset_commit(self, offsets: dict[Any, Any], group_id: str) -> None:
        if not offsets:
            return
        node_id = await self._find_coordinator(CoordinationType.GROUP, group_id)
        await _TxnOffsetCommit(self, offsets, group_id).do(node_id)

    async def _do_txn_commit(self, commit_result: Any) -> None:
        await self._message_accumulator.flush_for_commit()
        txn = self._txn_manager
        if txn.is_empty_transaction():
            txn.transaction_ended(None)
            return
        node_id = await self._find_coordinator(CoordinationType.TRANSACTION, txn.transactional_id)
        await _EndTxn(self, commit_result).do(node_id)


class Producer(AIOKafkaProducer):
    """`AIOKafkaProducer` with the senders above."""

    _message_accumulator: Any

    def __init__(
        self,
        *,
        transaction_version: int,
        most_in_flight: int = 1,
        adds_all_partitions: bool = True,
        **options: Any,
    ) -> None:
        """`transaction_version`: the cluster's finalized feature, which aiokafka does not ask for.
        `most_in_flight`: produce requests at a time to one broker. Without `adds_all_partitions` the coordinator hears
        of the first partition of a transaction only."""
        super().__init__(**options)
        plain: TransactionManager | None = self._txn_manager
        self._txn_manager: Transactions | None = None
        if plain is not None:
            self._txn_manager = Transactions(plain.transactional_id, plain.transaction_timeout_ms)
            self._txn_manager.adds_all_partitions = adds_all_partitions
        plain_line = self._message_accumulator
        self._message_accumulator = Accumulator(
            self._metadata,
            plain_line._batch_size,
            plain_line._compression_type,
            plain_line._batch_ttl,
            txn_manager=self._txn_manager,
            loop=plain_line._loop,
            linger_ms=options["linger_ms"],
        )
        self._sender = _Sender(
            self.client,
            acks=-1 if options["acks"] == "all" else options["acks"],
            txn_manager=self._txn_manager,
            message_accumulator=self._message_accumulator,
            retry_backoff_ms=options["retry_backoff_ms"],
            request_timeout_ms=options["request_timeout_ms"],
        )
        self._sender.transaction_version = transaction_version
        self._sender.most_in_flight = most_in_flight

    async def send_offsets(self, offsets: dict[Any, Any], group_id: str, member: Member) -> None:
        """As `send_offsets_to_transaction`, under the membership in which they were polled."""
        if self._txn_manager is not None:
            self._txn_manager.member = member
        await self.send_offsets_to_transaction(offsets, group_id)


class Consumer(AIOKafkaConsumer):
    """`AIOKafkaConsumer` that takes committed offsets only when they are stable, and does not start over
    because a deposed leader has fewer records."""

    async def start(self) -> None:
        self._client.send = PatientFetches(self._client, self._client._retry_backoff).send
        await super().start()
        if self._group_id is not None:
            self._coordinator._do_fetch_commit_offsets = self._fetch_stable_offsets

    async def _fetch_stable_offsets(self, partitions: Any) -> dict[Any, OffsetAndMetadata]:
        by_topic = collections.defaultdict(list)
        for partition in sorted(partitions):
            by_topic[partition.topic].append(partition.partition)
        response = await self._coordinator._send_req(OffsetFetch(self._group_id, list(by_topic.items())))
        self._check(getattr(response, "error_code", 0))
        found = {}
        for topic, answers, *_ in response.topics:
            for answer in answers:
                index, offset, code = answer[0], answer[1], _code_of(answer, response.API_VERSION)
                self._check(code)
                if offset >= 0:
                    found[TopicPartition(topic, index)] = OffsetAndMetadata(offset, "")
        return found

    def _check(self, code: int) -> None:
        if code == 0:
            return
        if code == _UNSTABLE_OFFSET_COMMIT:
            raise UnstableOffsets()
        error = kafka.for_code(code)
        if error in (kafka.NotCoordinatorForGroupError, kafka.GroupCoordinatorNotAvailableError):
            self._coordinator.coordinator_dead()
        raise error()


def _code_of(answer: tuple[Any, ...], version: int) -> int:
    """Partition answers end with their error code; flexible ones with their tags behind it."""
    return int(answer[-2] if version >= 6 else answer[-1])
