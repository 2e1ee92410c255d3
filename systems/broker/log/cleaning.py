"""What a cleaner keeps of a log (semantics 2.6): two passes over batches, without a disk.

Pass 1 notes the last offset of each key in what was written since the last cleaning. Pass 2 goes over the log from
its beginning and keeps a record where its key has no later one. Offsets never change. Of an aborted transaction nothing
is kept but its marker. Tombstones, and markers of which all records are gone, get a delete horizon when they are
first met and go once it has passed (KIP-534). The last batch of a producer stays, if need be empty: its sequence is
known from the log alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from systems.broker.log.batch import BatchHeader, parse, parse_marker, refilled
from systems.broker.log.compression import compress
from systems.broker.log.records import RawRecord, records
from systems.broker.producer_state import AbortedTransaction, ProducerEntry

Batch = tuple[BatchHeader, bytes]
Latest = dict[bytes, int]

_MARKER_KEYS = {True: b"\0\0\0\1", False: b"\0\0\0\0"}


class Transactions:
    """Follows a log from its beginning: which records were aborted, and of which transactions any are left."""

    def __init__(self, aborted: Sequence[AbortedTransaction]) -> None:
        self._coming = sorted(aborted, key=lambda a: (a.first_offset, a.producer_id))[::-1]
        self._aborting: dict[int, None] = {}
        self._with_records: dict[int, None] = {}

    def on_records(self, header: BatchHeader) -> bool:
        """True where the batch was aborted."""
        self._go_to(header)
        if not header.is_transactional:
            return False
        self._with_records[header.producer_id] = None
        return header.producer_id in self._aborting

    def on_marker(self, header: BatchHeader) -> bool:
        """True where no batch of its transaction is left in front of it."""
        self._go_to(header)
        self._aborting.pop(header.producer_id, None)
        if header.producer_id not in self._with_records:
            return True
        del self._with_records[header.producer_id]
        return False

    def _go_to(self, header: BatchHeader) -> None:
        while self._coming and self._coming[-1].first_offset <= header.last_offset:
            self._aborting[self._coming.pop().producer_id] = None


def latest_offsets(
    batches: Iterable[Batch], from_offset: int, transactions: Transactions, bugs: frozenset[str] = frozenset()
) -> Latest:
    """Pass 1: of each key in the batches from `from_offset` on, the last committed record's offset."""
    latest: Latest = {}
    for header, batch in batches:
        if header.is_control:
            transactions.on_marker(header)
            marker = parse_marker(batch)
            if "cleaner-dedupes-control-records" in bugs and marker is not None:
                latest[_MARKER_KEYS[marker.commit]] = header.base_offset
            continue
        aborted = transactions.on_records(header)
        if header.last_offset < from_offset or (aborted and "cleaner-beyond-lso" not in bugs):
            continue
        for record in records(header, batch):
            if record.key is not None:
                if "cleaner-keeps-oldest" in bugs:
                    latest.setdefault(record.key, record.offset)
                else:
                    latest[record.key] = record.offset
    return latest


class Rules(NamedTuple):
    """What pass 2 goes by. `last_batches` holds, of each producer in use, the last offset of its last batch (its
    last marker's where its epoch has no batch)."""

    latest: Mapping[bytes, int]
    now_ms: int
    delete_retention_ms: int
    last_batches: frozenset[int]
    bugs: frozenset[str] = frozenset()


class Cleaned(NamedTuple):
    """One batch after pass 2. `horizon_ms`: when it will be worth a look again."""

    header: BatchHeader
    batch: bytes
    horizon_ms: int | None = None


def last_batches(entries: Iterable[ProducerEntry]) -> frozenset[int]:
    return frozenset(
        entry.batches[-1].last_offset if entry.batches else entry.marker_offset for entry in entries
    )


def clean(
    header: BatchHeader, batch: bytes, rules: Rules, transactions: Transactions, *, keep: bool
) -> Cleaned | None:
    """Pass 2 for one batch; None where nothing of it stays. With `keep` its place stays, if need be empty."""
    if "compaction-drops-last-sequence" not in rules.bugs:
        keep = keep or header.last_offset in rules.last_batches
    if header.is_control:
        return _marker(header, batch, rules, transactions, keep=keep)
    aborted = transactions.on_records(header)
    if aborted and "marker-removed-before-data" in rules.bugs:
        aborted = False
    found = list(records(header, batch))
    kept = [] if aborted else [r for r in found if _stays(r, header, rules)]
    horizon = header.delete_horizon_ms
    fresh = any(not r.has_value for r in kept) and horizon is None
    if fresh:
        horizon = rules.now_ms + rules.delete_retention_ms
    due = horizon if any(not r.has_value for r in kept) else None
    if not kept and not keep:
        return None
    if len(kept) == len(found) and not fresh:
        return Cleaned(header, batch, due)
    return Cleaned(*_refill(header, kept, horizon if fresh else None), due)


def _stays(record: RawRecord, header: BatchHeader, rules: Rules) -> bool:
    if record.key is None or rules.latest.get(record.key, record.offset) != record.offset:
        return False
    if record.has_value:
        return True
    if "tombstone-dropped-before-older-value" in rules.bugs:
        return False
    horizon = header.delete_horizon_ms
    return horizon is None or rules.now_ms < horizon


def _marker(
    header: BatchHeader, batch: bytes, rules: Rules, transactions: Transactions, *, keep: bool
) -> Cleaned | None:
    alone = transactions.on_marker(header)
    marker = parse_marker(batch)
    if "cleaner-dedupes-control-records" in rules.bugs and marker is not None:
        newest = rules.latest.get(_MARKER_KEYS[marker.commit], header.base_offset)
        return Cleaned(header, batch) if newest == header.base_offset else None
    if "marker-removed-before-data" in rules.bugs and marker is not None and not marker.commit:
        return None
    if not alone or keep:
        return Cleaned(header, batch)
    horizon = header.delete_horizon_ms
    if horizon is None:
        horizon = rules.now_ms + rules.delete_retention_ms
        return Cleaned(*_refill(header, list(records(header, batch)), horizon), horizon)
    return None if rules.now_ms >= horizon else Cleaned(header, batch, horizon)


def _refill(header: BatchHeader, kept: Sequence[RawRecord], horizon_ms: int | None) -> Batch:
    """The batch with those records. A new horizon becomes the base of their timestamps."""
    shift = 0 if horizon_ms is None else header.base_timestamp - horizon_ms
    body = b"".join(record.encoded(shift) for record in kept)
    latest = header.max_timestamp
    if kept and not header.has_append_time:
        latest = header.base_timestamp + max(record.timestamp_delta for record in kept)
    batch = refilled(
        header,
        count=len(kept),
        records=compress(header.compression, body) if kept else b"",
        max_timestamp=latest,
        delete_horizon_ms=horizon_ms,
    )
    return parse(batch, check_crc=False), batch
