"""What a partition knows of its producers: sequences, open transactions, aborted ranges (semantics 2.3, 2.4).

Derived only from the log: every replica holds the same state after the same bytes, a new leader knows its
predecessor's producers, and a truncated log takes its state back with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.log.batch import NO_PRODUCER_ID, NO_SEQUENCE, BatchHeader, Marker, next_sequence

REMEMBERED_BATCHES = 5
"""As many as a client may have in flight (`max.in.flight.requests.per.connection`)."""


class SentBatch(msgspec.Struct, frozen=True, array_like=True):
    first_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int


class ProducerEntry(msgspec.Struct, frozen=True, array_like=True):
    """One producer id. `open_since` is the first offset of its open transaction here, -1 without one."""

    epoch: int
    batches: tuple[SentBatch, ...] = ()
    coordinator_epoch: int = -1
    open_since: int = -1
    last_timestamp: int = -1
    """Of its newest batch or marker here."""
    marker_offset: int = -1
    """Of its newest marker here."""

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE


class AbortedTransaction(msgspec.Struct, frozen=True, array_like=True):
    """`last_offset` is the abort marker's. `stable_until` is the first offset that was still undecided when
    the marker was written: no transaction that ends later begins below it."""

    producer_id: int
    first_offset: int
    last_offset: int
    stable_until: int


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """A transaction whose marker is in the log but perhaps not yet below the high watermark."""

    first_offset: int
    marker_offset: int


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The state after everything below `offset`."""

    offset: int
    producers: dict[int, ProducerEntry]
    aborted: tuple[AbortedTransaction, ...]
    ended: tuple[Ended, ...]


class Duplicate(NamedTuple):
    """A retry of a batch that is in the log: where the first one went."""

    base_offset: int
    last_offset: int


class ProducerStates:
    """All producers of one partition."""

    def __init__(self) -> None:
        self._producers: dict[int, ProducerEntry] = {}
        self._open: dict[int, int] = {}
        self._ended: list[Ended] = []
        self._aborted: list[AbortedTransaction] = []
        self._forgotten: dict[int, None] = {}

    def entries(self) -> Mapping[int, ProducerEntry]:
        return self._producers

    def entry(self, producer_id: int) -> ProducerEntry | None:
        return self._producers.get(producer_id)

    # ── checks at the leader, before the append ──────────────────────────────────────────────────────

    def check(self, header: BatchHeader, bugs: frozenset[str] = frozenset()) -> Duplicate | None:
        """Rule 2.3 for a client's batch: None where it may be appended, the original's place where it is a
        retry. Raises `INVALID_PRODUCER_EPOCH`, `OUT_OF_ORDER_SEQUENCE_NUMBER`, `INVALID_TXN_STATE`.

        A producer that is not known may begin with any sequence, as in Kafka (KIP-360): its records before
        are gone by retention, or nothing it sent so far arrived here."""
        if header.producer_id == NO_PRODUCER_ID:
            return None
        entry = self._producers.get(header.producer_id)
        if entry is None:
            return None
        if header.producer_epoch < entry.epoch:
            raise KafkaError(
                ErrorCode.invalid_producer_epoch,
                f"producer {header.producer_id} epoch {header.producer_epoch}, known {entry.epoch}",
            )
        if header.base_sequence == NO_SEQUENCE or header.producer_id in self._forgotten:
            return None
        if header.producer_epoch > entry.epoch:
            expected = 0
        else:
            remembered = entry.batches
            if "dedupe-window-too-small" in bugs:
                remembered = remembered[-1:]
            for sent in remembered:
                if (sent.first_sequence, sent.last_sequence) == (header.base_sequence, header.last_sequence):
                    if "oos-then-client-epoch-bump" in bugs:
                        break
                    return Duplicate(sent.base_offset, sent.last_offset)
            expected = next_sequence(entry.last_sequence) if entry.batches else 0
        if header.base_sequence == expected:
            if entry.open_since >= 0 and not header.is_transactional:
                raise KafkaError(
                    ErrorCode.invalid_txn_state,
                    f"producer {header.producer_id} has a transaction open since {entry.open_since}",
                )
            return None
        if "sequence-gap-accepted" in bugs:
            # A later batch goes in front of a lost one, whose retry then looks
            # like something old that was appended long ago.
            if header.base_sequence > expected:
                return None
            last = entry.batches[-1] if entry.batches else SentBatch(0, 0, -1, -1)
            return Duplicate(last.base_offset, last.last_offset)
        raise KafkaError(
            ErrorCode.out_of_order_sequence_number,
            f"producer {header.producer_id} sent {header.base_sequence}, expected {expected}",
        )

    def check_marker(
        self, producer_id: int, producer_epoch: int, coordinator_epoch: int, transaction_version: int
    ) -> bool:
        """Rule 2.4.6: True where the marker is to be appended, False where it is a duplicate. Raises
        `INVALID_PRODUCER_EPOCH` and `TRANSACTION_COORDINATOR_FENCED`.

        From transaction version 2 on a marker's epoch is above its transaction's, so one with the known
        epoch was here before: the retry of a coordinator that missed the answer (KAFKA-19999), or, where the
        next transaction runs already, a late one. Before, nothing tells a late marker from the one that is
        due, and it ends whatever is open."""
        entry = self._producers.get(producer_id)
        if entry is None:
            return True
        if coordinator_epoch < entry.coordinator_epoch:
            raise KafkaError(
                ErrorCode.transaction_coordinator_fenced,
                f"coordinator epoch {coordinator_epoch}, known {entry.coordinator_epoch}",
            )
        repeated = transaction_version >= 2 and producer_epoch == entry.epoch
        if producer_epoch < entry.epoch or (repeated and entry.open_since >= 0):
            raise KafkaError(
                ErrorCode.invalid_producer_epoch,
                f"marker for producer {producer_id} epoch {producer_epoch}, known {entry.epoch}",
            )
        return not repeated

    def forget_sequences(self) -> None:
        """Bug dedupe-state-not-replicated: a new leader knows no sequence that its predecessor accepted."""
        self._forgotten = dict.fromkeys(self._producers)

    # ── what the log says ────────────────────────────────────────────────────────────────────────────

    def on_batch(self, header: BatchHeader) -> None:
        """A data batch was appended."""
        producer_id = header.producer_id
        if producer_id == NO_PRODUCER_ID:
            return
        self._forgotten.pop(producer_id, None)
        entry = self._producers.get(producer_id)
        fresh = entry is None or header.producer_epoch != entry.epoch
        batches = () if entry is None or fresh else entry.batches
        if header.base_sequence != NO_SEQUENCE:
            sent = SentBatch(
                header.base_sequence, header.last_sequence, header.base_offset, header.last_offset
            )
            batches = (*batches[-(REMEMBERED_BATCHES - 1) :], sent)
        open_since = entry.open_since if entry is not None else -1
        if header.is_transactional and open_since < 0:
            open_since = header.base_offset
            self._open[producer_id] = open_since
        self._producers[producer_id] = ProducerEntry(
            epoch=header.producer_epoch,
            batches=batches,
            coordinator_epoch=entry.coordinator_epoch if entry is not None else -1,
            open_since=open_since,
            last_timestamp=header.max_timestamp,
            marker_offset=entry.marker_offset if entry is not None else -1,
        )

    def on_marker(self, header: BatchHeader, marker: Marker) -> None:
        """A transaction marker was appended: it ends the producer's open transaction, if there is one."""
        producer_id, offset = header.producer_id, header.base_offset
        entry = self._producers.get(producer_id)
        open_since = self._open.pop(producer_id, -1)
        if open_since >= 0:
            self._ended.append(Ended(open_since, offset))
            if not marker.commit:
                stable_until = min(self._open.values(), default=offset + 1)
                self._aborted.append(AbortedTransaction(producer_id, open_since, offset, stable_until))
        raised = entry is None or header.producer_epoch > entry.epoch
        self._producers[producer_id] = ProducerEntry(
            epoch=header.producer_epoch,
            batches=() if raised or entry is None else entry.batches,
            coordinator_epoch=marker.coordinator_epoch,
            last_timestamp=header.max_timestamp,
            marker_offset=offset,
        )

    # ── what readers may see ─────────────────────────────────────────────────────────────────────────

    def last_stable_offset(self, high_watermark: int) -> int:
        """min(first open offset, first offset of a transaction whose marker is not yet below the high
        watermark, high watermark) (2.4.3)."""
        ended = self._ended
        if ended and ended[0].marker_offset < high_watermark:
            self._ended = ended = [e for e in ended if e.marker_offset >= high_watermark]
        stable = high_watermark
        for offset in self._open.values():
            if offset < stable:
                stable = offset
        for transaction in ended:
            if transaction.first_offset < stable:
                stable = transaction.first_offset
        return stable

    def aborted_in(self, start_offset: int, end_offset: int) -> list[AbortedTransaction]:
        """Aborted transactions that overlap [start, end), in the order of their markers."""
        place = bisect_left(self._aborted, start_offset, key=lambda a: a.last_offset)
        found = []
        for aborted in self._aborted[place:]:
            if aborted.first_offset < end_offset:
                found.append(aborted)
            if aborted.stable_until >= end_offset:
                break
        return found

    @property
    def aborted(self) -> Sequence[AbortedTransaction]:
        """In the order of their markers."""
        return self._aborted

    def forget_aborted_below(self, start_offset: int) -> None:
        """The log begins there now: nobody reads what those transactions wrote."""
        if self._aborted and self._aborted[0].last_offset < start_offset:
            self._aborted = [a for a in self._aborted if a.last_offset >= start_offset]

    def forget_aborted(self, markers: frozenset[int]) -> None:
        """Nothing is left of the transactions that end at those offsets."""
        self._aborted = [a for a in self._aborted if a.last_offset not in markers]

    def expire(self, before_ms: int) -> list[int]:
        """Forgets producers whose newest record is older than that, unless a transaction of theirs is open
        (`producer.id.expiration.ms`); their ids."""
        expired = [
            producer_id
            for producer_id, entry in self._producers.items()
            if entry.open_since < 0 and entry.last_timestamp < before_ms
        ]
        for producer_id in expired:
            del self._producers[producer_id]
        return expired

    def open_since(self, producer_id: int) -> int | None:
        """First offset of the producer's open transaction here."""
        return self._open.get(producer_id)

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self, offset: int) -> Snapshot:
        return Snapshot(offset, dict(self._producers), tuple(self._aborted), tuple(self._ended))

    def restore(self, snapshot: Snapshot | None) -> None:
        """Takes the snapshot's state, or none at all."""
        if snapshot is None:
            snapshot = Snapshot(0, {}, (), ())
        self._producers = dict(snapshot.producers)
        self._open = {
            producer_id: entry.open_since
            for producer_id, entry in self._producers.items()
            if entry.open_since >= 0
        }
        self._ended = list(snapshot.ended)
        self._aborted = list(snapshot.aborted)
