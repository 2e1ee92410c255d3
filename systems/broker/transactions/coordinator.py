"""The transaction coordinator (semantics 2.4): leader of the log partition that a transactional id hashes to.

Every change is durable before it is acted on or answered. A request that meets another one of the same
transactional id in mid-append gets CONCURRENT_TRANSACTIONS, as in Kafka; clients retry that.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import msgspec
from kio.schema.errors import ErrorCode

from systems.broker.context import Broker, KafkaError
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

_RETRY_S = 0.1
_MAX_TIMEOUT_MS = 900_000


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

    def start(self) -> None:
        self._log.start()

    def stop(self) -> None:
        self._deadlines.stop()
        self._log.stop()

    def transaction(self, transactional_id: str) -> Transaction | None:
        """As it is now; None where nobody has used that id. Raises what a coordinator that may not answer says."""
        return self._log.shard_of(transactional_id).state.by_id.get(transactional_id)

    def transactions(self) -> list[Transaction]:
        """Of every id that this broker coordinates."""
        return [txn for shard in self._log.shards() for _, txn in sorted(shard.state.by_id.items())]

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

    # 2.4.1

    async def init_producer_id(
        self, transactional_id: str | None, *, timeout_ms: int, expected: tuple[int, int] | None
    ) -> tuple[int, int]:
        """The (producer id, epoch) of a new producer, whose predecessor is fenced. `expected`: the identity
        under which a client goes on. Without a transactional id everybody gets an id of its own."""
        if transactional_id is None:
            return await self._producer_ids.take(), 0
        longest_ms = int(self._broker.env.config.get("transaction.max.timeout.ms", _MAX_TIMEOUT_MS))
        if not transactional_id:
            raise KafkaError(ErrorCode.invalid_request, "an empty transactional id")
        if not 0 < timeout_ms <= longest_ms:
            raise KafkaError(ErrorCode.invalid_transaction_timeout)
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

    async def add_partitions(
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

    async def add_offsets(
        self, transactional_id: str, producer_id: int, producer_epoch: int, group_id: str
    ) -> None:
        """The group's offsets partition becomes part of the transaction."""
        await self._topics.ensure(OFFSETS)
        partitions = len(self._broker.image.topics[OFFSETS].partitions)
        home = (OFFSETS, coordinator_partition(group_id, partitions))
        await self.add_partitions(transactional_id, producer_id, producer_epoch, [home])

    def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partition: Partition
    ) -> None:
        """For the partition's leader: raises where that producer may not write there now."""
        _, txn = self._known(transactional_id)
        with self._fencing(txn, producer_epoch, "verification"):
            state.verify_partition(txn, producer_id, self._presumed(txn, producer_epoch), partition)

    # 2.4.4

    async def end(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        *,
        commit: bool,
        bump_epoch: bool,
    ) -> tuple[int, int]:
        """Returns, once the decision is durable, the identity of the producer's next transaction."""
        _, txn = self._known(transactional_id)
        next_id = await self._producer_ids.take() if bump_epoch and txn.epoch_exhausted else state.NONE
        shard, txn = self._known(transactional_id)
        with self._fencing(txn, producer_epoch, "EndTxn"):
            if transactional_id in shard.state.changing:
                raise KafkaError(ErrorCode.concurrent_transactions)
            decided = state.end(
                txn,
                producer_id,
                self._presumed(txn, producer_epoch),
                commit=commit,
                bump_epoch=bump_epoch,
                next_producer_id=next_id,
                now_ms=self._now_ms(),
            )
        if decided is None:
            if "commit-retry-not-idempotent" in self._broker.env.bugs:
                raise KafkaError(ErrorCode.invalid_txn_state, "not idempotent")
            return txn.producer_id, txn.producer_epoch
        await self._change(shard, transactional_id, lambda: decided)
        self._announce(shard, decided, reason="client")
        return state.returned(decided)

    async def _abort(self, shard: TransactionShard, txn: Transaction, *, reason: str) -> None:
        """2.4.5 and 2.4.1: aborts an ongoing transaction without its producer, whose epoch is fenced.
        Raises CONCURRENT_TRANSACTIONS where it has been ended since `txn` was read."""

        def fenced() -> Transaction:
            if not _still_runs(shard, txn):
                raise KafkaError(ErrorCode.concurrent_transactions)
            now = shard.state.by_id[txn.transactional_id]
            return state.fence(now, resumable=reason == "timeout", now_ms=self._now_ms())

        decided = await self._change(shard, txn.transactional_id, fenced)
        self._announce(shard, decided, reason=reason)

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
            if not shard.lost and _still_runs(shard, txn):
                self._deadlines.set(shard, txn, soon=True)
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


def _still_runs(shard: TransactionShard, txn: Transaction) -> bool:
    """Is it the same transaction that goes on (perhaps with more partitions)?"""
    now = shard.state.by_id[txn.transactional_id]
    same = (now.producer_epoch, now.started_ms) == (txn.producer_epoch, txn.started_ms)
    return now.state is State.ONGOING and same


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
