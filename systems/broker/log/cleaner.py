"""The cleaner of one log (semantics 2.6): what it may touch, whether that is worth a pass, and the pass.

A pass rewrites the log from its beginning up to a bound, a few segments at a time, each into one that takes their
place at once (`swap.py`). Nothing at or above the bound is looked at: not the segment that is written to, nothing
above the high watermark, and no transaction that is still open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.node import Disk
from systems.broker.log.batch import whole_batches
from systems.broker.log.cleaner_state import CleanerState
from systems.broker.log.cleaning import (
    Batch,
    Cleaned,
    Rules,
    Transactions,
    clean,
    last_batches,
    latest_offsets,
)
from systems.broker.log.log import Log
from systems.broker.log.segment import Segment
from systems.broker.log.swap import CLEANED

UNLIMITED_LAG_MS = (1 << 63) - 1


class CompactionLimits(NamedTuple):
    """Kafka's keys of a compacted topic."""

    min_dirty_ratio: float = 0.5
    delete_retention_ms: int = 86_400_000
    min_lag_ms: int = 0
    max_lag_ms: int = UNLIMITED_LAG_MS


class Pass(NamedTuple):
    """What a pass came to."""

    clean_until: int
    removed: int
    bytes_before: int
    bytes_after: int


class Cleaner:
    def __init__(self, disk: Disk, log: Log, segment_bytes: int, bugs: frozenset[str] = frozenset()) -> None:
        self._disk = disk
        self._log = log
        self._segment_bytes = segment_bytes
        self._bugs = bugs

    def cleanable(self, limits: CompactionLimits, now_ms: int, high_watermark: int) -> list[Segment]:
        """Segments that a pass may rewrite; none where it is not worth one."""
        log = self._log
        bound = log.end_offset
        if "cleaner-beyond-lso" not in self._bugs:
            bound = log.producers.last_stable_offset(high_watermark)
        segments = log.closed_below(bound)
        clean_until = log.cleaned.clean_until
        for place, segment in enumerate(segments):
            if segment.end_offset > clean_until and now_ms - segment.max_timestamp < limits.min_lag_ms:
                segments = segments[:place]
                break
        dirty = [s for s in segments if s.end_offset > clean_until]
        size, dirty_size = sum(s.size for s in segments), sum(s.size for s in dirty)
        if dirty and dirty_size / size > limits.min_dirty_ratio:
            return segments
        if dirty and now_ms - dirty[0].first_timestamp > limits.max_lag_ms:
            return segments
        if segments and 0 <= log.cleaned.horizon_ms <= now_ms:
            return segments
        return []

    async def run(self, segments: Sequence[Segment], limits: CompactionLimits, now_ms: int) -> Pass | None:
        """One pass over `segments`; None where the log was cut meanwhile."""
        log = self._log
        dirty_from, end = log.cleaned.clean_until, segments[-1].end_offset
        aborted = list(log.producers.aborted)
        latest = latest_offsets(self._batches(segments), dirty_from, Transactions(aborted), self._bugs)
        rules = Rules(
            latest,
            now_ms,
            limits.delete_retention_ms,
            last_batches(log.producers.entries().values()),
            self._bugs,
        )
        await self._keep_epochs(end)
        if "tombstone-dropped-before-older-value" in self._bugs:
            # Only what is new is rewritten: of a key that is deleted there, an older value stays behind.
            segments = [s for s in segments if s.end_offset > dirty_from] or segments
        transactions = Transactions(aborted)
        before, after, removed, horizon, last_crc = 0, 0, 0, -1, 0
        for group in self._groups(segments):
            size = sum(s.size for s in group)
            new, kept, gone, markers = self._rewrite(group, rules, transactions)
            if markers and "cleaner-dedupes-control-records" not in self._bugs:
                log.forget_aborted(markers)
            if not await log.replace(group, new):
                return None
            before, after, removed = before + size, after + new.size, removed + gone
            due = [k.horizon_ms for k in kept if k.horizon_ms is not None and k.horizon_ms > now_ms]
            horizon = min([*due, horizon] if horizon >= 0 else due, default=-1)
            last_crc = kept[-1].header.crc
            await asyncio.sleep(0)
        log.note_cleaned(CleanerState(end, self._epochs(end), horizon, last_crc))
        return Pass(end, removed, before, after)

    async def _keep_epochs(self, end_offset: int) -> None:
        """Before batches go that tell of an epoch, it is on disk in another place."""
        state = self._log.cleaned
        epochs = self._epochs(end_offset)
        if epochs != state.epochs:
            self._log.note_cleaned(CleanerState(state.clean_until, epochs, state.horizon_ms, state.last_crc))
            await self._log.sync_cleaned()

    def _epochs(self, end_offset: int) -> tuple[tuple[int, int], ...]:
        return tuple(entry for entry in self._log.epochs.entries() if entry[1] < end_offset)

    def _groups(self, segments: Sequence[Segment]) -> list[list[Segment]]:
        """Neighbours that fit into one segment together."""
        groups: list[list[Segment]] = []
        room = 0
        for segment in segments:
            if not groups or segment.size > room:
                groups.append([])
                room = self._segment_bytes
            groups[-1].append(segment)
            room -= segment.size
        return groups

    def _rewrite(
        self, group: Sequence[Segment], rules: Rules, transactions: Transactions
    ) -> tuple[Segment, list[Cleaned], int, frozenset[int]]:
        """The new segment, what is in it, how many records are not, and where markers were. The last batch keeps its place, so that the segment ends where the next one begins."""
        new = Segment(self._disk, self._log.folder, group[0].base_offset, CLEANED)
        if self._disk.exists(new.name):
            self._disk.remove(new.name)
        kept, gone, markers = [], 0, []
        end = group[-1].end_offset
        for header, batch in self._batches(group):
            cleaned = clean(header, batch, rules, transactions, keep=header.last_offset + 1 == end)
            gone += header.records
            if cleaned is not None:
                new.append(cleaned.header, cleaned.batch)
                kept.append(cleaned)
                gone -= cleaned.header.records
            elif header.is_control:
                markers.append(header.base_offset)
        return new, kept, gone, frozenset(markers)

    def _batches(self, segments: Sequence[Segment]) -> Iterator[Batch]:
        for segment in segments:
            data = self._disk.read(segment.name)
            for header, at in whole_batches(data):
                yield header, data[at : at + header.size]
