"""A partition's log: segments of record batches, with leader epochs and producer state that follow it."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import msgspec

from harness.node import Disk
from systems.broker.log.batch import BatchHeader, parse_marker, whole_batches
from systems.broker.log.checksummed import read_checksummed, write_checksummed
from systems.broker.log.cleaner_state import CleanerFile, CleanerState
from systems.broker.log.leader_epochs import LeaderEpochs
from systems.broker.log.retention import Doomed, RetentionLimits, doomed
from systems.broker.log.segment import Segment, Slice, segment_name
from systems.broker.log.start import NO_EPOCH, Start, StartFile
from systems.broker.log.stored import Records, StoredRecords, has_files
from systems.broker.log.swap import CLEANED, SWAP, abandon_swaps, finish_swaps
from systems.broker.producer_state import ProducerStates, Snapshot

KEPT_SNAPSHOTS = 3


class _StoredSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot on disk. `last_crc` ties it to the batch that ends at its offset: a log that was cut and
    filled anew since is not the one it describes."""

    last_crc: int
    snapshot: Snapshot


class Log:
    """Appends, reads and truncates in memory's time; nothing here waits. `flush` alone is asynchronous."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        *,
        segment_bytes: int,
        flush_every_append: bool,
        sent_from_file_bytes: int | None = None,
        bugs: frozenset[str] = frozenset(),
    ) -> None:
        """`sent_from_file_bytes`: see `read_to_send`; None where all is read."""
        self.folder = folder
        self.epochs = LeaderEpochs()
        self.producers = ProducerStates()
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._flush_every_append = flush_every_append
        self._sent_from_file_bytes = sent_from_file_bytes
        self._segments: list[Segment] = []
        self.end_offset = 0
        """Where the next batch goes; kept, because nothing is asked for more often."""
        self._snapshots: list[_StoredSnapshot] = []
        self._last_crc = 0
        self._flushed_offset = 0
        self._flushing = asyncio.Lock()
        self._truncations = 0
        self._start_file = StartFile(disk, folder)
        self._cleaner_file = CleanerFile(disk, folder)
        self.cleaned = self._cleaner_file.read()
        """How far a cleaner has come."""
        self._bugs = bugs
        self.start_offset, self._start_epoch = self._start_file.read()
        """The first offset that can be read; the batch that holds it may begin below. And the epoch that
        wrote the one before it: all that is known of epochs once everything was removed."""
        self._recover()

    @property
    def durable_end_offset(self) -> int:
        """What counts as this replica's copy: everything, or with `log.flush.interval.messages=1` what an
        fsync has covered."""
        return self._flushed_offset if self._flush_every_append else self.end_offset

    @property
    def is_durable(self) -> bool:
        return self.durable_end_offset >= self.end_offset

    def configure(self, *, segment_bytes: int, flush_every_append: bool) -> None:
        self._segment_bytes = segment_bytes
        self._flush_every_append = flush_every_append

    def delete(self) -> None:
        """Removes all of it; the log must not be used any more."""
        self._truncations += 1
        self._segments = self._segments[-1:]
        self._flushed_offset = self.end_offset
        for name in self._disk.list(self.folder + "/"):
            self._disk.remove(name)

    def append(self, header: BatchHeader, batch: bytes) -> None:
        """Adds one batch whose base offset and leader epoch are written in it."""
        if header.base_offset < self.end_offset:
            raise ValueError(f"{self.folder}: batch at {header.base_offset}, log ends at {self.end_offset}")
        if self._segments[-1].size and self._segments[-1].size + len(batch) > self._segment_bytes:
            # Where this log ends, not where the batch begins: a cleaner may have left a gap in between, and a
            # segment begins where the one before ends.
            self._roll(self.end_offset)
        self._segments[-1].append(header, batch)
        self.end_offset = header.last_offset + 1
        self._follow(header, batch)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self._segments)

    def read(self, start_offset: int, end_offset: int, max_bytes: int) -> Slice:
        """Whole batches from the one that holds `start_offset` on, below `end_offset`, of one segment; the
        first even if it is larger than `max_bytes`. Empty at the end."""
        segment = self._segment_of(start_offset, end_offset)
        if segment is None:
            return Slice(b"", start_offset)
        return segment.read(start_offset, end_offset, max_bytes)

    def read_to_send(self, start_offset: int, end_offset: int, max_bytes: int) -> tuple[Records, int]:
        """As `read`, records and end offset; but what is large stays in its file, where the disk has real ones."""
        segment = self._segment_of(start_offset, end_offset)
        if segment is None:
            return b"", start_offset
        if self._sent_from_file_bytes is None or not has_files(self._disk):
            return segment.read(start_offset, end_offset, max_bytes)
        position, size, end = segment.find(start_offset, end_offset, max_bytes)
        if size >= self._sent_from_file_bytes:
            return StoredRecords(self._disk, segment.name, position, size), end
        return self._disk.read(segment.name, position, size) if size else b"", end

    def _segment_of(self, start_offset: int, end_offset: int) -> Segment | None:
        if start_offset >= end_offset:
            return None
        if start_offset >= self._segments[-1].base_offset:
            return self._segments[-1]
        place = bisect_right(self._segments, start_offset, key=lambda s: s.base_offset) - 1
        return next((s for s in self._segments[max(place, 0) :] if s.end_offset > start_offset), None)

    def batches(self, start_offset: int, end_offset: int) -> Iterator[tuple[BatchHeader, bytes]]:
        """Each batch with its header, in order."""
        position = start_offset
        while data := self.read(position, end_offset, 1 << 20).records:
            for header, at in whole_batches(data):
                yield header, data[at : at + header.size]
                position = header.last_offset + 1

    def truncate(self, end_offset: int) -> int:
        """Cuts the log so that it ends at or below `end_offset`; epochs, producer state and snapshots go
        back with it. Returns the new end."""
        if end_offset >= self.end_offset:
            # This replica may have led an epoch in which it wrote nothing: its entry begins at our end and
            # would be taken for the epoch of our last record.
            self.epochs.truncate(self.end_offset)
            self._recall_epoch()
            return self.end_offset
        self._truncations += 1
        self._cut_cleaned(end_offset)
        if end_offset < self.start_offset:
            self._begin_at(end_offset)
            return end_offset
        while len(self._segments) > 1 and self._segments[-1].base_offset >= end_offset:
            segment = self._segments.pop()
            if segment.created:
                self._disk.remove(segment.name)
        end = self.end_offset = self._segments[-1].truncate(end_offset)
        self._flushed_offset = min(self._flushed_offset, end)
        self.epochs.truncate(end)
        self._recall_epoch()
        while self._snapshots and self._snapshots[-1].snapshot.offset > end:
            self._forget_snapshot(self._snapshots.pop())
        self._rebuild_producers()
        return end

    # ── the beginning ────────────────────────────────────────────────────────────────────────────────

    def advance_start(self, offset: int) -> bool:
        """Nothing below `offset` can be read any more; what is known of epochs and aborted transactions goes
        with it. The files go with `remove_old_segments`. True where that is new."""
        if offset <= self.start_offset:
            return False
        if offset > self.end_offset:
            raise ValueError(f"{self.folder}: cannot begin at {offset}, ends at {self.end_offset}")
        self._start_epoch = self.epochs.epoch_at(offset - 1)
        self.start_offset = offset
        self.epochs.begin_at(offset)
        self.producers.forget_aborted_below(offset)
        return True

    def beyond_retention(self, limits: RetentionLimits, now_ms: int, end_offset: int) -> Doomed | None:
        return doomed(self._segments, limits, now_ms, end_offset)

    def roll_if_older(self, age_ms: int, now_ms: int) -> None:
        """A log that is seldom written to gets a new segment all the same, so that retention finds one."""
        segment = self._segments[-1]
        if segment.size and now_ms - segment.first_timestamp > age_ms:
            self._roll(self.end_offset)

    async def remove_old_segments(self) -> int:
        """Removes the files that lie wholly below the start, once the start itself is safe on disk: without
        it a restart would take what is left for the tail of a log that lost its beginning. How many."""
        start, known = self.start_offset, self._start_file.read()
        if start > known.offset:
            self._start_file.write(Start(start, self._start_epoch))
            await self._start_file.sync()
            if self.start_offset < start:
                return 0  # meanwhile the log was begun anew
        removed = 0
        if self._segments[-1].size and self._segments[-1].end_offset <= start:
            self._roll(self.end_offset)
        while len(self._segments) > 1 and self._segments[0].end_offset <= start:
            segment = self._segments.pop(0)
            if segment.created:
                self._disk.remove(segment.name)
            removed += 1
        return removed

    def begin_at(self, offset: int) -> None:
        """Everything goes; the log is empty and begins at `offset`: its leader has nothing older."""
        self._truncations += 1
        self._cut_cleaned(0)
        self._begin_at(offset)

    def _begin_at(self, offset: int) -> None:
        self._start_epoch = NO_EPOCH
        self._start_file.write(Start(offset, NO_EPOCH))
        for segment in self._segments:
            if segment.created:
                self._disk.remove(segment.name)
        self._segments = [Segment(self._disk, self.folder, offset)]
        self.start_offset = self.end_offset = self._flushed_offset = offset
        self.epochs.truncate(0)
        while self._snapshots:
            self._forget_snapshot(self._snapshots.pop())
        self._last_crc = 0
        self.producers.restore(None)

    # ── compaction ───────────────────────────────────────────────────────────────────────────────────

    def closed_below(self, offset: int) -> list[Segment]:
        """Segments that are no longer written to and lie wholly below."""
        return [s for s in self._segments[:-1] if s.size and s.end_offset <= offset]

    async def replace(self, old: Sequence[Segment], new: Segment) -> bool:
        """Puts `new`, written under its `.cleaned` name, in the place of neighbours. False where the log has
        changed meanwhile."""
        truncations = self._truncations
        await self._disk.fsync(new.name)
        if truncations != self._truncations:
            return False
        new.rename(new.name.removesuffix(CLEANED) + SWAP)
        await self._disk.fsync(new.name)
        if truncations != self._truncations:
            return False
        place = next((i for i, s in enumerate(self._segments) if s is old[0]), None)
        if place is None or self._segments[place : place + len(old)] != list(old):
            # Retention took some of them.
            self._disk.remove(new.name)
            return False
        for segment in old:
            self._disk.remove(segment.name)
        new.rename(new.name.removesuffix(SWAP))
        self._segments[place : place + len(old)] = [new]
        return True

    def forget_aborted(self, markers: frozenset[int]) -> None:
        """Those abort markers will go, as all their records did. A reader who heard of such a transaction would
        wait for the marker, and take what the producer wrote next for aborted."""
        self.producers.forget_aborted(markers)
        for place, stored in enumerate(self._snapshots):
            kept = tuple(a for a in stored.snapshot.aborted if a.last_offset not in markers)
            if len(kept) < len(stored.snapshot.aborted):
                fewer = msgspec.structs.replace(stored.snapshot, aborted=kept)
                self._snapshots[place] = _StoredSnapshot(stored.last_crc, fewer)
                write_checksummed(
                    self._disk, self._snapshot_name(stored.snapshot.offset), self._snapshots[place]
                )

    def note_cleaned(self, state: CleanerState) -> None:
        self.cleaned = state
        self._cleaner_file.write(state)

    async def sync_cleaned(self) -> None:
        await self._cleaner_file.sync()

    def _cut_cleaned(self, end_offset: int) -> None:
        if not self._disk.exists(self._cleaner_file.name):
            return
        abandon_swaps(self._disk, self.folder)
        self.note_cleaned(self.cleaned.cut(end_offset))

    async def flush(self) -> None:
        """Everything appended so far survives a power loss once this returns. Concurrent callers share
        one fsync where they can."""
        wanted = self.end_offset
        async with self._flushing:
            if self._flushed_offset >= wanted:
                return
            end, truncations = self.end_offset, self._truncations
            for segment in list(self._segments):
                if segment.created and segment.end_offset > self._flushed_offset:
                    await self._disk.fsync(segment.name)
            if truncations == self._truncations:
                self._flushed_offset = end

    def offset_for_timestamp(self, timestamp_ms: int, end_offset: int) -> tuple[int, bytes] | None:
        """The first batch (its base offset and bytes) with a record of at least that timestamp."""
        for segment in self._present():
            offset = segment.batch_with_timestamp(timestamp_ms, self.start_offset)
            if offset is not None and offset < end_offset:
                return offset, self.read(offset, end_offset, 1).records
        return None

    def max_timestamp(self, end_offset: int) -> int:
        """The largest below `end_offset`; -1 where there is no record."""
        found = (s.max_timestamp_in(self.start_offset, end_offset) for s in self._present())
        return max(found, default=-1)

    def _present(self) -> Iterator[Segment]:
        """Those with something that can still be read."""
        return (segment for segment in self._segments if segment.end_offset > self.start_offset)

    def _roll(self, base_offset: int) -> None:
        self._write_snapshot()
        self._segments.append(Segment(self._disk, self.folder, base_offset))

    def _follow(self, header: BatchHeader, batch: bytes) -> None:
        self.epochs.assign(header.leader_epoch, header.base_offset)
        self._last_crc = header.crc
        self._follow_producer(header, batch)

    def _follow_producer(self, header: BatchHeader, batch: bytes) -> None:
        if header.is_control:
            marker = parse_marker(batch)
            if marker is not None:
                self.producers.on_marker(header, marker)
        else:
            self.producers.on_batch(header)

    # ── recovery ─────────────────────────────────────────────────────────────────────────────────────

    def _recover(self) -> None:
        """Opens what is on disk: scans it, cuts it at the first bad batch, drops what lies behind."""
        finish_swaps(self._disk, self.folder)
        names = [name for name in self._disk.list(self.folder + "/") if name.endswith(".log")]
        bases = sorted(int(name.rsplit("/", 1)[1].removesuffix(".log")) for name in names)
        while len(bases) > 1 and bases[1] <= self.start_offset:
            # Retention was removing it.
            self._disk.remove(segment_name(self.folder, bases.pop(0)))
        self._load_snapshots()
        crc_at: dict[int, int] = {}
        epochs: list[tuple[int, int]] = []
        for base in bases:
            segment = Segment(self._disk, self.folder, base)
            beginning = (
                base <= self.start_offset if not self._segments else base == self._segments[-1].end_offset
            )
            if not beginning:
                # The segment before lost its tail, or itself: what is behind the hole is no log any more.
                self._disk.remove(segment.name)
                continue
            for header in segment.recover(self._bugs):
                epochs.append((header.leader_epoch, header.base_offset))
                self._last_crc = crc_at[header.last_offset + 1] = header.crc
            self._segments.append(segment)
        self.cleaned = self.cleaned.of(epochs, crc_at)
        for epoch, start in (*self.cleaned.epochs, *epochs):
            self.epochs.assign(epoch, start)
        if self._segments and self._segments[-1].end_offset < self.start_offset:
            self._begin_at(self.start_offset)
            return
        if not self._segments:
            self._segments.append(Segment(self._disk, self.folder, self.start_offset))
        self.end_offset = self._segments[-1].end_offset
        first = self._segments[0].base_offset
        good = [
            s
            for s in self._snapshots
            # The batch before the first that is left went by retention.
            if crc_at.get(s.snapshot.offset) == s.last_crc or s.snapshot.offset == first > 0
        ]
        for stored in self._snapshots:
            if stored not in good:
                self._forget_snapshot(stored)
        self._snapshots = good
        self._flushed_offset = 0
        self._rebuild_producers()
        self.epochs.begin_at(self.start_offset)
        self._recall_epoch()

    def _recall_epoch(self) -> None:
        """An emptied log is not one that never held anything: its last epoch still compares with others'."""
        if self.end_offset == self.start_offset and self.epochs.latest < 0 <= self._start_epoch:
            self.epochs.assign(self._start_epoch, self.start_offset)

    def _rebuild_producers(self) -> None:
        """Producer state from the newest snapshot and the batches behind it."""
        snapshot = self._snapshots[-1].snapshot if self._snapshots else None
        self.producers.restore(snapshot)
        start = snapshot.offset if snapshot is not None else self._segments[0].base_offset
        for header, batch in self.batches(start, self.end_offset):
            self._last_crc = header.crc
            self._follow_producer(header, batch)
        self.producers.forget_aborted_below(self.start_offset)

    # ── producer snapshots ───────────────────────────────────────────────────────────────────────────

    def _snapshot_name(self, offset: int) -> str:
        return f"{self.folder}/{offset:020d}.snapshot"

    def _write_snapshot(self) -> None:
        stored = _StoredSnapshot(self._last_crc, self.producers.snapshot(self.end_offset))
        write_checksummed(self._disk, self._snapshot_name(stored.snapshot.offset), stored)
        self._snapshots.append(stored)
        while len(self._snapshots) > KEPT_SNAPSHOTS:
            self._forget_snapshot(self._snapshots.pop(0))

    def _load_snapshots(self) -> None:
        for name in self._disk.list(self.folder + "/"):
            if not name.endswith(".snapshot"):
                continue
            stored = read_checksummed(self._disk, name, _StoredSnapshot)
            if stored is None:
                self._disk.remove(name)
                continue
            self._snapshots.append(stored)
        self._snapshots.sort(key=lambda s: s.snapshot.offset)

    def _forget_snapshot(self, stored: _StoredSnapshot) -> None:
        name = self._snapshot_name(stored.snapshot.offset)
        if self._disk.exists(name):
            self._disk.remove(name)
