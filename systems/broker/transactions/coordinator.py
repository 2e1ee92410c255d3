"""The transaction coordinator (semantics 2.4): leader of the log partition that a transactional id hashes to.

Every change is durable before it is acted on or answered. A request that meets another one of the same
transactional id in mid-append gets CONCURRENT_TRANSACTIONS, as in Kafka; clients retry that.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import (
    OFFSETS,
    TRANSACTIONS,
    CoordinatorLog,
    Entry,
    Marker,
    Shard,
    coordinator_partition,
)
from systems.broker.internal_topics import InternalTopics
from systems.broker.producer_ids import ProducerIds
from systems.broker.transactions import codec, state
from systems.broker.transactions.expiry import Deadlines
from systems.broker.transactions.markers import MarkerSender
from systems.broker.transactions.state import PREPARED, Partition, State, Transaction

INIT_PRODUCER_ID = 22
ADD_PARTITIONS_TO_TXN = 24
ADD_OFFSETS_TO_TXN = 25
END_TXN = 26

_RETRY_S = 0.1
_MAX_TIMEOUT_MS = 900_000

# Older clients know no PRODUCER_FENCED: the first version of each request that does (KIP-588).
_FENCED_SINCE = {INIT_PRODUCER_ID: 4, ADD_PARTITIONS_TO_TXN: 2, ADD_OFFSETS_TO_TXN: 2, END_TXN: 2}
_ABORTABLE_SINCE = 5
_BUMPS_EPOCH_SINCE = 5
"""KIP-890 part 2: by the cluster's finalized `transaction.version` a client chooses the version of its
EndTxn, and the coordinator looks at nothing else, as in Apache Kafka."""

T = TypeVar("T")


class Transactions:
    """What one log partition says: the newest durable state of each transactional id."""

    def __init__(self) -> None:
        self.by_id: dict[str, Transaction] = {}
        self.changing: set[str] = set()
        """Transactional ids with an append under way."""


TransactionShard = Shard[Transactions]


class TransactionCoordinator:
    def __init__(
        self, broker: Broker, topics: InternalTopics, producer_ids: ProducerIds, markers: MarkerSender
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._producer_ids = producer_ids
        self._markers = markers
        self._log = CoordinatorLog(broker, TRANSACTIONS, kind="transactions", machine=self)
        self._deadlines = Deadlines(broker.env, self._expire)

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            INIT_PRODUCER_ID: (range(0, 6), self.on_init_producer_id),
            ADD_PARTITIONS_TO_TXN: (range(0, 6), self.on_add_partitions_to_txn),
            ADD_OFFSETS_TO_TXN: (range(0, 5), self.on_add_offsets_to_txn),
            END_TXN: (range(0, 6), self.on_end_txn),
        }

    async def start(self) -> None:
        self._log.start()

    async def stop(self) -> None:
        self._deadlines.stop()
        self._log.stop()

    # The log's state machine.

    def empty(self) -> Transactions:
        return Transactions()

    def replay(self, transactions: Transactions, entry: Entry | Marker) -> None:
        if isinstance(entry, Entry) and entry.value is not None:
            txn = codec.decode(entry.value)
            transactions.by_id[txn.transactional_id] = txn

    def loaded(self, shard: TransactionShard) -> Sequence[str]:
        """2.4.5, failover: a decision stands and is driven to its end; what is ongoing gets its full time
        (the predecessor's clock says nothing here)."""
        resumed = []
        for transactional_id, txn in sorted(shard.state.by_id.items()):
            if txn.state in PREPARED:
                resumed.append(transactional_id)
                self._log.spawn(shard, self._finish(shard, txn))
            elif txn.state is State.ONGOING:
                self._deadlines.set(shard, txn)
        return resumed

    def unloaded(self, shard: TransactionShard) -> None:
        self._deadlines.forget(shard)

    # Requests.

    async def on_init_producer_id(self, context: RequestContext, request: Any) -> Any:
        try:
            producer_id, epoch = await self._init_producer_id(request)
            return messages.response(
                context, error_code=ErrorCode.none, producer_id=producer_id, producer_epoch=epoch
            )
        except KafkaError as error:
            return messages.response(context, error_code=_code(context, error), producer_epoch=-1)

    async def on_add_partitions_to_txn(self, context: RequestContext, request: Any) -> Any:
        if context.version < 4:
            codes = await self._add(
                context,
                (
                    request.v3_and_below_transactional_id,
                    request.v3_and_below_producer_id,
                    request.v3_and_below_producer_epoch,
                ),
                _partitions(request.v3_and_below_topics),
            )
            return messages.response(context, results_by_topic_v3_and_below=_results(codes))
        results = [
            {
                "transactional_id": wanted.transactional_id,
                "topic_results": _results(await self._answer_leader(context, wanted)),
            }
            for wanted in request.transactions
        ]
        return messages.response(context, error_code=ErrorCode.none, results_by_transaction=results)

    async def on_add_offsets_to_txn(self, context: RequestContext, request: Any) -> Any:
        code = await self._code(context, self._add_offsets(request))
        return messages.response(context, error_code=code)

    async def on_end_txn(self, context: RequestContext, request: Any) -> Any:
        try:
            producer_id, epoch = await self._end(request, bump_epoch=context.version >= _BUMPS_EPOCH_SINCE)
            return messages.response(
                context, error_code=ErrorCode.none, producer_id=producer_id, producer_epoch=epoch
            )
        except KafkaError as error:
            return messages.response(context, error_code=_code(context, error))

    # 2.4.1

    async def _init_producer_id(self, request: Any) -> tuple[int, int]:
        transactional_id = request.transactional_id
        if transactional_id is None:
            return await self._producer_ids.take(), 0
        timeout_ms = messages.in_milliseconds(request.transaction_timeout)
        if not transactional_id:
            raise KafkaError(ErrorCode.invalid_request, "an empty transactional id")
        if (
            not 0
            < timeout_ms
            <= int(self._broker.env.config.get("transaction.max.timeout.ms", _MAX_TIMEOUT_MS))
        ):
            raise KafkaError(ErrorCode.invalid_transaction_timeout)
        expected_id = getattr(request, "producer_id", -1)
        expected = (expected_id, request.producer_epoch) if expected_id >= 0 else None

        shard = self._log.shard_of(transactional_id)
        txn = shard.state.by_id.get(transactional_id)
        if txn is None:
            producer_id = await self._producer_ids.take()
            txn = shard.state.by_id.get(transactional_id) or Transaction(
                transactional_id=transactional_id, producer_id=producer_id, timeout_ms=timeout_ms
            )
        if txn.state is State.ONGOING:
            state.check_continues(txn, expected)
            if "zombie-producer-not-fenced" in self._broker.env.bugs:
                joined = msgspec.structs.replace(txn, producer_epoch=txn.producer_epoch + 1)
                await self._change(shard, transactional_id, lambda: joined)
                return joined.producer_id, joined.producer_epoch
            await self._abort(shard, txn, reason="fence")
            raise KafkaError(ErrorCode.concurrent_transactions, "the previous transaction is being aborted")
        fresh = await self._producer_ids.take() if txn.epoch_exhausted else state.NONE

        def bumped() -> Transaction:
            current = shard.state.by_id.get(transactional_id, txn)
            if current.state is State.ONGOING or current.epoch_exhausted != txn.epoch_exhausted:
                raise KafkaError(ErrorCode.concurrent_transactions)
            return state.init_producer(
                current,
                timeout_ms=timeout_ms,
                expected=expected,
                fresh_producer_id=fresh,
                now_ms=self._now_ms(),
            )

        after = await self._change(shard, transactional_id, bumped)
        return after.producer_id, after.producer_epoch

    # 2.4.2

    async def _add(
        self, context: RequestContext, who: tuple[str, int, int], partitions: Sequence[Partition]
    ) -> dict[Partition, ErrorCode]:
        """All or none: a partition that does not exist keeps the others out too."""
        unknown = [p for p in partitions if self._broker.image.partition(*p) is None]
        if unknown:
            codes = dict.fromkeys(partitions, ErrorCode.operation_not_attempted)
            return codes | dict.fromkeys(unknown, ErrorCode.unknown_topic_or_partition)
        return dict.fromkeys(partitions, await self._code(context, self._add_partitions(*who, partitions)))

    async def _add_partitions(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partitions: Sequence[Partition]
    ) -> None:
        shard, txn = self._known(transactional_id)
        with self._fencing(txn, producer_epoch, "AddPartitionsToTxn"):
            if transactional_id in shard.state.changing:
                raise KafkaError(ErrorCode.concurrent_transactions)
            added = state.add_partitions(
                txn,
                producer_id,
                self._presumed(txn, producer_epoch),
                partitions,
                now_ms=self._now_ms(),
            )
        if added is not None:
            await self._change(shard, transactional_id, lambda: added)
            self._deadlines.set(shard, added)

    async def _add_offsets(self, request: Any) -> None:
        await self._topics.ensure(OFFSETS)
        partitions = len(self._broker.image.topics[OFFSETS].partitions)
        await self._add_partitions(
            request.transactional_id,
            request.producer_id,
            request.producer_epoch,
            [(OFFSETS, coordinator_partition(request.group_id, partitions))],
        )

    async def _answer_leader(self, context: RequestContext, wanted: Any) -> dict[Partition, ErrorCode]:
        """KIP-890: a partition's leader asks before a transaction's first append there; from a client of
        transaction version 2 the question adds the partition."""
        partitions = _partitions(wanted.topics)
        who = (wanted.transactional_id, wanted.producer_id, wanted.producer_epoch)
        if not wanted.verify_only:
            return await self._add(context, who, partitions)
        codes = {}
        for partition in partitions:
            try:
                _, txn = self._known(wanted.transactional_id)
                with self._fencing(txn, wanted.producer_epoch, "verification"):
                    state.verify_partition(
                        txn, wanted.producer_id, self._presumed(txn, wanted.producer_epoch), partition
                    )
                codes[partition] = ErrorCode.none
            except KafkaError as error:
                codes[partition] = _code(context, error)
        return codes

    # 2.4.4

    async def _end(self, request: Any, *, bump_epoch: bool) -> tuple[int, int]:
        shard, txn = self._known(request.transactional_id)
        next_id = await self._producer_ids.take() if bump_epoch and txn.epoch_exhausted else state.NONE
        shard, txn = self._known(request.transactional_id)
        with self._fencing(txn, request.producer_epoch, "EndTxn"):
            if request.transactional_id in shard.state.changing:
                raise KafkaError(ErrorCode.concurrent_transactions)
            decided = state.end(
                txn,
                request.producer_id,
                self._presumed(txn, request.producer_epoch),
                commit=request.committed,
                bump_epoch=bump_epoch,
                next_producer_id=next_id,
                now_ms=self._now_ms(),
            )
        if decided is None:
            if "commit-retry-not-idempotent" in self._broker.env.bugs:
                raise KafkaError(ErrorCode.invalid_txn_state, "not idempotent")
            return txn.producer_id, txn.producer_epoch
        await self._change(shard, request.transactional_id, lambda: decided)
        self._announce(shard, decided, reason="client")
        return state.returned(decided)

    async def _abort(self, shard: TransactionShard, txn: Transaction, *, reason: str) -> None:
        """2.4.5 and 2.4.1: aborts an ongoing transaction without its producer, whose epoch is fenced."""
        fenced = state.fence(txn, resumable=reason == "timeout", now_ms=self._now_ms())
        await self._change(shard, txn.transactional_id, lambda: fenced)
        self._announce(shard, fenced, reason=reason)

    def _announce(self, shard: TransactionShard, decided: Transaction, *, reason: str) -> None:
        """The decision is durable: nothing can change it any more. Sends it out."""
        env = self._broker.env
        self._deadlines.clear(shard, decided.transactional_id)
        self._emit_state(decided)
        if decided.commits:
            env.step("coordinator.prepare_commit.written")
        else:
            env.step("coordinator.prepare_abort.written")
            env.emit("txn-aborted", transactional_id=decided.transactional_id, reason=reason)
        self._log.spawn(shard, self._finish(shard, decided))

    async def _finish(self, shard: TransactionShard, decided: Transaction) -> None:
        """Markers to every partition until each is acknowledged, then Complete*."""
        await self._markers.deliver(decided, shard.epoch)
        self._broker.env.step("coordinator.markers.acknowledged")
        for _ in itertools.count():
            if await self._complete(shard, decided) or shard.lost:
                return
            await asyncio.sleep(_RETRY_S)

    async def _complete(self, shard: TransactionShard, decided: Transaction) -> bool:
        completed = state.complete(decided, now_ms=self._now_ms())
        try:
            await self._change(shard, decided.transactional_id, lambda: completed)
        except KafkaError:
            return False
        self._emit_state(completed)
        self._broker.env.step("coordinator.complete.written")
        return True

    # 2.4.5

    def _expire(self, shard: TransactionShard, transactional_id: str) -> None:
        txn = shard.state.by_id.get(transactional_id)
        if shard.lost or txn is None or txn.state is not State.ONGOING:
            return
        if "txn-timeout-not-enforced" in self._broker.env.bugs:
            return
        self._log.spawn(shard, self._time_out(shard, txn))

    async def _time_out(self, shard: TransactionShard, txn: Transaction) -> None:
        try:
            await self._abort(shard, txn, reason="timeout")
        except KafkaError:
            self._deadlines.set(shard, shard.state.by_id[txn.transactional_id], soon=True)
            raise

    # What the above share.

    def _known(self, transactional_id: str) -> tuple[TransactionShard, Transaction]:
        if not transactional_id:
            raise KafkaError(ErrorCode.invalid_request, "an empty transactional id")
        shard = self._log.shard_of(transactional_id)
        txn = shard.state.by_id.get(transactional_id)
        if txn is None:
            raise KafkaError(ErrorCode.invalid_producer_id_mapping)
        return shard, txn

    async def _change(
        self, shard: TransactionShard, transactional_id: str, after: Callable[[], Transaction]
    ) -> Transaction:
        """Appends the next state and makes it current: one change of a transactional id at a time."""
        changing = shard.state.changing
        if transactional_id in changing:
            raise KafkaError(ErrorCode.concurrent_transactions)
        txn = after()
        changing.add(transactional_id)
        try:
            await self._log.append(shard, [codec.encode(txn)])
            shard.state.by_id[transactional_id] = txn
        finally:
            changing.discard(transactional_id)
        return txn

    def _presumed(self, txn: Transaction, producer_epoch: int) -> int:
        if "zombie-producer-not-fenced" in self._broker.env.bugs and producer_epoch < txn.producer_epoch:
            return txn.producer_epoch
        return producer_epoch

    def _now_ms(self) -> int:
        return self._broker.env.wall_clock.time_ns() // 1_000_000

    def _emit_state(self, txn: Transaction) -> None:
        self._broker.env.emit(
            "txn-state",
            transactional_id=txn.transactional_id,
            state=str(txn.state),
            producer_id=txn.producer_id,
            epoch=txn.producer_epoch,
        )

    def _fencing(self, txn: Transaction, producer_epoch: int, request: str) -> _Fencing:
        return _Fencing(self._broker, txn, producer_epoch, request)

    async def _code(self, context: RequestContext, work: Awaitable[None]) -> ErrorCode:
        try:
            await work
        except KafkaError as error:
            return _code(context, error)
        return ErrorCode.none


class _Fencing:
    """Reports a refused zombie, and lets the error pass."""

    def __init__(self, broker: Broker, txn: Transaction, producer_epoch: int, request: str) -> None:
        self._broker = broker
        self._txn = txn
        self._given = producer_epoch
        self._request = request

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, KafkaError) and error.code is ErrorCode.producer_fenced:
            self._broker.env.emit(
                "producer-fenced",
                transactional_id=self._txn.transactional_id,
                producer_id=self._txn.producer_id,
                epoch=self._given,
                current_epoch=self._txn.producer_epoch,
                request=self._request,
            )


def _code(context: RequestContext, error: KafkaError) -> ErrorCode:
    """The error as a client of that version knows it."""
    if error.code is ErrorCode.producer_fenced and context.version < _FENCED_SINCE.get(context.api_key, 0):
        return ErrorCode.invalid_producer_epoch
    if (
        error.code is ErrorCode.transaction_abortable
        and context.api_key == ADD_PARTITIONS_TO_TXN
        and context.version < _ABORTABLE_SINCE
    ):
        return ErrorCode.invalid_txn_state
    return error.code


def _partitions(topics: Sequence[Any]) -> list[Partition]:
    return [(topic.name, index) for topic in topics for index in topic.partitions]


def _results(codes: Mapping[Partition, ErrorCode]) -> list[dict[str, Any]]:
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for (topic, index), code in codes.items():
        by_topic.setdefault(topic, []).append({"partition_index": index, "partition_error_code": code})
    return [{"name": name, "results_by_partition": results} for name, results in by_topic.items()]
