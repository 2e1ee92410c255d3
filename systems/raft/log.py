"""A Raft log in memory: entries after a snapshot. Durability is `storage`'s business."""

from __future__ import annotations

from systems.raft.messages import Entry, Snapshot

EMPTY_SNAPSHOT = Snapshot(0, 0, b"")


class RaftLog:
    """Indexes start at 1; `snapshot` covers everything up to its own."""

    def __init__(self, snapshot: Snapshot = EMPTY_SNAPSHOT, entries: tuple[Entry, ...] = ()) -> None:
        self.snapshot = snapshot
        self._entries = list(entries)

    @property
    def last_index(self) -> int:
        return self.snapshot.index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.snapshot.term

    def term_at(self, index: int) -> int | None:
        """None where the entry is compacted away or not there yet."""
        position = index - self.snapshot.index
        if position == 0:
            return self.snapshot.term
        if 0 < position <= len(self._entries):
            return self._entries[position - 1].term
        return None

    def entry(self, index: int) -> Entry:
        return self._entries[index - self.snapshot.index - 1]

    def after(self, index: int, limit: int) -> tuple[Entry, ...]:
        """Up to `limit` entries that follow `index`, which must not be compacted away."""
        start = index - self.snapshot.index
        return tuple(self._entries[start : start + limit])

    def append(self, entries: tuple[Entry, ...]) -> None:
        self._entries.extend(entries)

    def truncate_from(self, index: int) -> None:
        """Drops `index` and what follows."""
        del self._entries[index - self.snapshot.index - 1 :]

    def first_index_of_term_at(self, index: int) -> int:
        """Where the run of entries with the term of `index` begins, as far as they are here."""
        term = self.term_at(index)
        while index - 1 > self.snapshot.index and self.term_at(index - 1) == term:
            index -= 1
        return index

    def compact(self, snapshot: Snapshot) -> None:
        """Replaces everything up to the snapshot's index; entries beyond it stay only if they follow it."""
        follows = self.term_at(snapshot.index) == snapshot.term
        self._entries = self._entries[snapshot.index - self.snapshot.index :] if follows else []
        self.snapshot = snapshot
