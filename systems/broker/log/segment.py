"""One file of a log with the index of the batches in it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from harness.node import Disk
from systems.broker.log.batch import BatchHeader, CorruptBatch, claimed_end, parse


def segment_name(folder: str, base_offset: int) -> str:
    return f"{folder}/{base_offset:020d}.log"


class Slice(NamedTuple):
    """Whole batches and the offset behind the last of them."""

    records: bytes
    end_offset: int


class Segment:
    """Batches from `base_offset` on, with gaps where a cleaner was. The index (offsets, position and largest
    timestamp of every batch) lives in memory and is rebuilt when the log is opened."""

    def __init__(self, disk: Disk, folder: str, base_offset: int, suffix: str = "") -> None:
        self.base_offset = base_offset
        self.end_offset = base_offset
        self.size = 0
        self.name = segment_name(folder, base_offset) + suffix
        self.created = disk.exists(self.name)
        self._disk = disk
        self._offsets = array("q")
        self._ends = array("q")
        self._positions = array("q")
        self._timestamps = array("q")

    def recover(self, bugs: frozenset[str] = frozenset()) -> list[BatchHeader]:
        """Reads the file, checks every CRC, cuts the file at the first bad batch and returns the headers of the good ones."""
        data = self._disk.read(self.name)
        good: list[BatchHeader] = []
        position = 0
        while position < len(data):
            try:
                header = parse(data, position)
            except CorruptBatch:
                break
            if header.base_offset < self.end_offset:
                break
            good.append(header)
            self._note(header, position)
            position += header.size
        if position < len(data):
            self._disk.truncate(self.name, position)
            if "log-recovery-keeps-torn-batch" in bugs:
                # The mistake: the end is where the last header says, the bytes are where the last good batch ends.
                self.end_offset = max(self.end_offset, claimed_end(data, position) or 0)
        self.size = position
        return good

    def append(self, header: BatchHeader, batch: bytes) -> None:
        self._disk.append(self.name, batch)
        self.created = True
        self._note(header, self.size)
        self.size += len(batch)

    def rename(self, name: str) -> None:
        self._disk.rename(self.name, name)
        self.name = name

    def read(self, start_offset: int, end_offset: int, max_bytes: int) -> Slice:
        """Whole batches from the one that holds `start_offset` to the last that begins below `end_offset`;
        at least one, then as many as fit into `max_bytes`."""
        position, size, end = self.find(start_offset, end_offset, max_bytes)
        return Slice(self._disk.read(self.name, position, size) if size else b"", end)

    def find(self, start_offset: int, end_offset: int, max_bytes: int) -> tuple[int, int, int]:
        """Where in the file that is, how long, and the offset behind it."""
        first = self._first_place(start_offset)
        last = bisect_left(self._offsets, end_offset)
        if first >= last:
            return 0, 0, start_offset
        start = self._positions[first]
        if self._position(last) - start > max_bytes:
            # The last batch start that is no further than max_bytes ends the slice.
            last = max(bisect_right(self._positions, start + max_bytes, first, last) - 1, first + 1)
        return start, self._position(last) - start, self._ends[last - 1]

    def truncate(self, end_offset: int) -> int:
        """Drops every batch that does not end below `end_offset`; returns the new end."""
        keep = bisect_left(self._offsets, end_offset)
        if keep and keep == len(self._offsets) and self.end_offset <= end_offset:
            return self.end_offset
        if keep and self._ends[keep - 1] > end_offset:
            keep -= 1
        size = self._position(keep)
        if self.created:
            self._disk.truncate(self.name, size)
        self.end_offset = self._ends[keep - 1] if keep else self.base_offset
        self.size = size
        del self._offsets[keep:], self._ends[keep:], self._positions[keep:], self._timestamps[keep:]
        return self.end_offset

    def batch_with_timestamp(self, timestamp_ms: int, start_offset: int) -> int | None:
        """First offset of the first batch that does not end below `start_offset` and whose largest timestamp
        is at least that."""
        for place in range(self._first_place(start_offset), len(self._timestamps)):
            if self._timestamps[place] >= timestamp_ms:
                return self._offsets[place]
        return None

    def max_timestamp_in(self, start_offset: int, end_offset: int) -> int:
        """Of the batches with offsets from there on that begin below the end; -1 without one."""
        last = bisect_left(self._offsets, end_offset)
        return max(self._timestamps[self._first_place(start_offset) : last], default=-1)

    @property
    def max_timestamp(self) -> int:
        return max(self._timestamps, default=-1)

    @property
    def first_timestamp(self) -> int:
        """The largest of the first batch: since when this segment is written to."""
        return self._timestamps[0] if self._timestamps else -1

    def _first_place(self, offset: int) -> int:
        """Of the batch that holds the offset, or where a cleaner took that, of the next one."""
        return bisect_right(self._ends, offset)

    def _note(self, header: BatchHeader, position: int) -> None:
        self._offsets.append(header.base_offset)
        self._ends.append(header.last_offset + 1)
        self._positions.append(position)
        # What is empty has no time: nobody shall find it by one.
        self._timestamps.append(header.max_timestamp if header.records else -1)
        self.end_offset = header.last_offset + 1

    def _position(self, place: int) -> int:
        return self._positions[place] if place < len(self._positions) else self.size
