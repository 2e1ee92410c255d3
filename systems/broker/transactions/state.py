"""A transactional id's state machine (semantics 2.4) as pure functions: state in, state out.

Nothing here waits or writes. The coordinator appends what a function returns to the transaction log and
only then makes it current. A function raises `KafkaError` where the protocol refuses.

    Empty ───────────► Ongoing ──► PrepareCommit ──► CompleteCommit ──► Ongoing | Empty
      ▲                   │  └───► PrepareAbort ───► CompleteAbort  ──► Ongoing | Empty
      └── InitProducerId  └─► PrepareEpochFence ─► PrepareAbort
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError

MAX_EPOCH = 32767
NONE = -1


class State(enum.StrEnum):
    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"
    PREPARE_EPOCH_FENCE = "PrepareEpochFence"
    DEAD = "Dead"


TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.EMPTY: frozenset({State.EMPTY, State.ONGOING, State.PREPARE_ABORT, State.DEAD}),
        State.ONGOING: frozenset(
            {State.ONGOING, State.PREPARE_COMMIT, State.PREPARE_ABORT, State.PREPARE_EPOCH_FENCE}
        ),
        State.PREPARE_EPOCH_FENCE: frozenset({State.PREPARE_ABORT}),
        State.PREPARE_COMMIT: frozenset({State.COMPLETE_COMMIT}),
        State.PREPARE_ABORT: frozenset({State.COMPLETE_ABORT}),
        State.COMPLETE_COMMIT: frozenset({State.EMPTY, State.ONGOING, State.PREPARE_ABORT, State.DEAD}),
        State.COMPLETE_ABORT: frozenset({State.EMPTY, State.ONGOING, State.PREPARE_ABORT, State.DEAD}),
        State.DEAD: frozenset(),
    }
)
"""From each state, the next ones. Complete* or Empty -> PrepareAbort is transaction version 2's abort of a
transaction that never got a partition: it still bumps the epoch. PrepareEpochFence is never durable: the
bump of the epoch and the abort are one record."""

PREPARED = frozenset({State.PREPARE_COMMIT, State.PREPARE_ABORT})
COMPLETED = frozenset({State.COMPLETE_COMMIT, State.COMPLETE_ABORT})

Partition = tuple[str, int]


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """What the log keeps of one transactional id.

    `producer_epoch` is -1 until the first InitProducerId is durable. In Prepare* it is the epoch that the
    markers carry; then `next_producer_id`, where set, is what the next transaction runs under, and
    `transaction_version` is 2 where the decision raised the epoch, so that markers tell which one they end.
    """

    transactional_id: str
    producer_id: int
    producer_epoch: int = NONE
    last_producer_epoch: int = NONE
    previous_producer_id: int = NONE
    next_producer_id: int = NONE
    timeout_ms: int
    state: State = State.EMPTY
    transaction_version: int = 1
    partitions: tuple[Partition, ...] = ()
    started_ms: int = NONE
    updated_ms: int = NONE

    @property
    def epoch_exhausted(self) -> bool:
        """The next bump would leave no epoch for a fence."""
        return self.producer_epoch >= MAX_EPOCH - 1

    @property
    def commits(self) -> bool:
        return self.state in (State.PREPARE_COMMIT, State.COMPLETE_COMMIT)


def _moved(txn: Transaction, to: State, **changes: Any) -> Transaction:
    if to not in TRANSITIONS[txn.state]:
        raise AssertionError(f"{txn.transactional_id}: no transition {txn.state} -> {to}")
    return msgspec.structs.replace(txn, state=to, **changes)


def check_producer(txn: Transaction, producer_id: int, producer_epoch: int) -> None:
    """2.4.1: any request with another producer id or another epoch is refused."""
    if producer_id != txn.producer_id:
        raise KafkaError(ErrorCode.invalid_producer_id_mapping)
    if producer_epoch != txn.producer_epoch:
        raise KafkaError(ErrorCode.producer_fenced)


def init_producer(
    txn: Transaction,
    *,
    timeout_ms: int,
    expected: tuple[int, int] | None = None,
    fresh_producer_id: int = NONE,
    now_ms: int,
) -> Transaction:
    """2.4.1 for a transactional id with nothing under way: bump the epoch (a new producer id where that
    is exhausted). `expected` is the (producer id, epoch) with which a client continues after an error
    (KIP-360). Raises CONCURRENT_TRANSACTIONS while a transaction is being completed."""
    check_continues(txn, expected)
    if txn.state in PREPARED:
        raise KafkaError(ErrorCode.concurrent_transactions)
    if expected is not None and txn.producer_epoch not in (NONE, expected[1]):
        # The retry of a request that had been carried out: the same answer, no second bump.
        return _moved(txn, State.EMPTY, partitions=(), updated_ms=now_ms)
    settled = {"timeout_ms": timeout_ms, "partitions": (), "started_ms": NONE, "updated_ms": now_ms}
    if txn.epoch_exhausted:
        return _moved(
            txn,
            State.EMPTY,
            producer_id=fresh_producer_id,
            previous_producer_id=txn.producer_id,
            producer_epoch=0,
            last_producer_epoch=txn.producer_epoch if expected else NONE,
            **settled,
        )
    return _moved(
        txn,
        State.EMPTY,
        producer_epoch=txn.producer_epoch + 1,
        last_producer_epoch=txn.producer_epoch if expected else NONE,
        **settled,
    )


def check_continues(txn: Transaction, expected: tuple[int, int] | None) -> None:
    """KIP-360: who continues under its old identity must be the newest producer; anybody may start anew."""
    if expected is None or txn.producer_epoch == NONE:
        return
    producer_id, epoch = expected
    current = producer_id == txn.producer_id and epoch in (txn.producer_epoch, txn.last_producer_epoch)
    rotated = producer_id == txn.previous_producer_id and epoch >= MAX_EPOCH - 1
    if not (current or rotated):
        raise KafkaError(ErrorCode.producer_fenced)


def fence(txn: Transaction, *, resumable: bool, now_ms: int) -> Transaction:
    """2.4.1 and 2.4.5: a newer producer, or the clock, ends an ongoing transaction. The epoch is bumped
    with the decision to abort, so that the old producer can add nothing to it. `resumable`: nobody has
    taken over, so that the old one may go on under the new epoch once it knows of the abort."""
    epoch = txn.producer_epoch
    fenced = _moved(txn, State.PREPARE_EPOCH_FENCE, producer_epoch=min(epoch + 1, MAX_EPOCH))
    last = epoch if resumable and epoch < MAX_EPOCH - 1 else NONE
    return _moved(
        fenced,
        State.PREPARE_ABORT,
        transaction_version=2 if fenced.producer_epoch > epoch else 1,
        last_producer_epoch=last,
        updated_ms=now_ms,
    )


def add_partitions(
    txn: Transaction, producer_id: int, producer_epoch: int, partitions: Iterable[Partition], *, now_ms: int
) -> Transaction | None:
    """2.4.2. None where the transaction has them all already."""
    if txn.state in PREPARED:
        raise KafkaError(ErrorCode.concurrent_transactions)
    check_producer(txn, producer_id, producer_epoch)
    known = dict.fromkeys(txn.partitions) if txn.state is State.ONGOING else {}
    wanted = dict.fromkeys(partitions)
    if txn.state is State.ONGOING and all(p in known for p in wanted):
        return None
    return _moved(
        txn,
        State.ONGOING,
        partitions=tuple(sorted(known | wanted)),
        started_ms=txn.started_ms if txn.state is State.ONGOING else now_ms,
        updated_ms=now_ms,
    )


def verify_partition(txn: Transaction, producer_id: int, producer_epoch: int, partition: Partition) -> None:
    """2.4.2, for the partition's leader: may this producer write to it now? Raises where not."""
    check_producer(txn, producer_id, producer_epoch)
    if txn.state in PREPARED:
        raise KafkaError(ErrorCode.concurrent_transactions)
    if txn.state is not State.ONGOING or partition not in txn.partitions:
        raise KafkaError(ErrorCode.transaction_abortable)


def end(
    txn: Transaction,
    producer_id: int,
    producer_epoch: int,
    *,
    commit: bool,
    bump_epoch: bool,
    next_producer_id: int = NONE,
    now_ms: int,
) -> Transaction | None:
    """2.4.4: the decision of EndTxn. None where this request is the retry of one that was carried out.

    With `bump_epoch` (a client of transaction version 2) the decision carries epoch e+1, so that whatever
    the ended transaction left in the network is fenced, and a retry is recognised by its epoch e. Without
    it a retry and the next transaction's request look alike: `delayed-endtxn-hits-next-txn`.
    """
    if txn.state in PREPARED:
        raise KafkaError(ErrorCode.concurrent_transactions)
    rotated = (producer_id, producer_epoch) == (txn.previous_producer_id, MAX_EPOCH - 1)
    retry = bump_epoch and txn.state in COMPLETED and (rotated or producer_epoch == txn.last_producer_epoch)
    if producer_id != txn.producer_id and not (retry and rotated):
        raise KafkaError(ErrorCode.invalid_producer_id_mapping)
    if producer_epoch != txn.producer_epoch and not retry:
        raise KafkaError(ErrorCode.producer_fenced)

    if txn.state is State.ONGOING:
        return _prepared(txn, commit, bump_epoch, next_producer_id, now_ms)
    if txn.state in COMPLETED and (retry or not bump_epoch):
        if txn.commits == commit:
            return None
    elif bump_epoch and not commit:
        return _prepared(txn, commit, bump_epoch, next_producer_id, now_ms)
    raise KafkaError(ErrorCode.invalid_txn_state, f"EndTxn(commit={commit}) in {txn.state}")


def _prepared(
    txn: Transaction, commit: bool, bump_epoch: bool, next_producer_id: int, now_ms: int
) -> Transaction:
    changes: dict[str, Any] = {"updated_ms": now_ms, "transaction_version": 2 if bump_epoch else 1}
    if txn.state is not State.ONGOING:
        changes |= {"partitions": (), "started_ms": now_ms}
    if bump_epoch:
        changes |= {
            "producer_epoch": txn.producer_epoch + 1,
            "last_producer_epoch": txn.producer_epoch,
            "next_producer_id": next_producer_id,
        }
    return _moved(txn, State.PREPARE_COMMIT if commit else State.PREPARE_ABORT, **changes)


def complete(txn: Transaction, *, now_ms: int) -> Transaction:
    """2.4.4: every marker is acknowledged."""
    changes: dict[str, Any] = {"partitions": (), "started_ms": NONE, "updated_ms": now_ms}
    if txn.next_producer_id != NONE:
        changes |= {
            "producer_id": txn.next_producer_id,
            "previous_producer_id": txn.producer_id,
            "next_producer_id": NONE,
            "producer_epoch": 0,
        }
    return _moved(
        txn,
        State.COMPLETE_COMMIT if txn.state is State.PREPARE_COMMIT else State.COMPLETE_ABORT,
        **changes,
    )


def returned(txn: Transaction) -> tuple[int, int]:
    """The (producer id, epoch) with which the client's next transaction goes on, as EndTxn v5 says it."""
    if txn.next_producer_id != NONE:
        return txn.next_producer_id, 0
    return txn.producer_id, txn.producer_epoch
