"""A partition's log: segments of record batches, with leader epochs and producer state that follow it."""

from __future__ import annotations

import asyncio
import zlib
from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from harness.node import Disk
from systems.broker.log.batch import BatchHeader, parse_marker, whole_batches
from systems.broker.log.leader_epochs import LeaderEpochs
from systems.broker.log.segment import Segment, Slice
from systems.broker.producer_state import ProducerStates, Snapshot

KEPT_SNAPSHOTS = 3


class _StoredSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot on disk. `last_crc` ties it to the batch that ends at its offset: a log that was cut and
    filled anew since is not the one it describes."""

    last_crc: int
    snapshot: Snapshot


class Log:
    """Appends, reads and truncates in memory's time; nothing here waits. `flush` alone is asynchronous."""

    def __init__(self, disk: Disk, folder: str, *, segment_bytes: int, flush_every_append: bool) -> None:
        self.folder = folder
        self.epochs = LeaderEpochs()
        self.producers = ProducerStates()
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._flush_every_append = flush_every_append
        self._segments: list[Segment] = []
        self.end_offset = 0
        """Where the next batch goes; kept, because nothing is asked for more often."""
        self._snapshots: list[_StoredSnapshot] = []
        self._last_crc = 0
        self._flushed_offset = 0
        self._flushing = asyncio.Lock()
        self._truncations = 0
        self._recover()

    @property
    def start_offset(self) -> int:
        return self._segments[0].base_offset

    @property
    def durable_end_offset(self) -> int:
        """What counts as this replica's copy: everything, or with `log.flush.interval.messages=1` what an
        fsync has covered."""
        return self._flushed_offset if self._flush_every_append else self.end_offset

    @property
    def is_durable(self) -> bool:
        return self.durable_end_offset >= self.end_offset

    def append(self, header: BatchHeader, batch: bytes) -> None:
        """Adds one batch whose base offset and leader epoch are written in it."""
        if header.base_offset < self.end_offset:
            raise ValueError(f"{self.folder}: batch at {header.base_offset}, log ends at {self.end_offset}")
        if self._segments[-1].size and self._segments[-1].size + len(batch) > self._segment_bytes:
            self._roll(header.base_offset)
        self._segments[-1].append(header, batch)
        self.end_offset = header.last_offset + 1
        self._follow(header, batch)

    def read(self, start_offset: int, end_offset: int, max_bytes: int) -> Slice:
        """Whole batches from the one that holds `start_offset` on, below `end_offset`, of one segment; the
        first even if it is larger than `max_bytes`. Empty at the end."""
        if start_offset >= end_offset:
            return Slice(b"", start_offset)
        if start_offset >= self._segments[-1].base_offset:
            return self._segments[-1].read(start_offset, end_offset, max_bytes)
        place = bisect_right(self._segments, start_offset, key=lambda s: s.base_offset) - 1
        for segment in self._segments[max(place, 0) :]:
            if segment.end_offset > start_offset:
                return segment.read(start_offset, end_offset, max_bytes)
        return Slice(b"", start_offset)

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
            return self.end_offset
        self._truncations += 1
        while len(self._segments) > 1 and self._segments[-1].base_offset >= end_offset:
            segment = self._segments.pop()
            if segment.created:
                self._disk.remove(segment.name)
        end = self.end_offset = self._segments[-1].truncate(end_offset)
        self._flushed_offset = min(self._flushed_offset, end)
        self.epochs.truncate(end)
        while self._snapshots and self._snapshots[-1].snapshot.offset > end:
            self._forget_snapshot(self._snapshots.pop())
        self._rebuild_producers()
        return end

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
        for segment in self._segments:
            offset = segment.batch_with_timestamp(timestamp_ms)
            if offset is not None and offset < end_offset:
                return offset, self.read(offset, end_offset, 1).records
        return None

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
        names = [name for name in self._disk.list(self.folder + "/") if name.endswith(".log")]
        bases = sorted(int(name.rsplit("/", 1)[1].removesuffix(".log")) for name in names)
        self._load_snapshots()
        crc_at: dict[int, int] = {}
        for base in bases:
            segment = Segment(self._disk, self.folder, base)
            if base != (self._segments[-1].end_offset if self._segments else 0):
                # The segment before lost its tail, or itself: what is behind the hole is no log any more.
                self._disk.remove(segment.name)
                continue
            for header in segment.recover():
                self.epochs.assign(header.leader_epoch, header.base_offset)
                self._last_crc = crc_at[header.last_offset + 1] = header.crc
            self._segments.append(segment)
        if not self._segments:
            self._segments.append(Segment(self._disk, self.folder, 0))
        self.end_offset = self._segments[-1].end_offset
        good = [s for s in self._snapshots if crc_at.get(s.snapshot.offset) == s.last_crc]
        for stored in self._snapshots:
            if stored not in good:
                self._forget_snapshot(stored)
        self._snapshots = good
        self._flushed_offset = 0
        self._rebuild_producers()

    def _rebuild_producers(self) -> None:
        """Producer state from the newest snapshot and the batches behind it."""
        snapshot = self._snapshots[-1].snapshot if self._snapshots else None
        self.producers.restore(snapshot)
        start = snapshot.offset if snapshot is not None else self.start_offset
        for header, batch in self.batches(start, self.end_offset):
            self._last_crc = header.crc
            self._follow_producer(header, batch)

    # ── producer snapshots ───────────────────────────────────────────────────────────────────────────

    def _snapshot_name(self, offset: int) -> str:
        return f"{self.folder}/{offset:020d}.snapshot"

    def _write_snapshot(self) -> None:
        stored = _StoredSnapshot(self._last_crc, self.producers.snapshot(self.end_offset))
        body = msgspec.msgpack.encode(stored)
        name = self._snapshot_name(stored.snapshot.offset)
        self._disk.write(name + ".new", zlib.crc32(body).to_bytes(4, "big") + body)
        self._disk.rename(name + ".new", name)
        self._snapshots.append(stored)
        while len(self._snapshots) > KEPT_SNAPSHOTS:
            self._forget_snapshot(self._snapshots.pop(0))

    def _load_snapshots(self) -> None:
        for name in self._disk.list(self.folder + "/"):
            if not name.endswith(".snapshot"):
                continue
            data = self._disk.read(name)
            if zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
                self._disk.remove(name)
                continue
            self._snapshots.append(msgspec.msgpack.decode(data[4:], type=_StoredSnapshot))
        self._snapshots.sort(key=lambda s: s.snapshot.offset)

    def _forget_snapshot(self, stored: _StoredSnapshot) -> None:
        name = self._snapshot_name(stored.snapshot.offset)
        if self._disk.exists(name):
            self._disk.remove(name)
