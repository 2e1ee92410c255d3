"""A group's committed offsets, and those that wait for their transaction to end (semantics 2.4.7, 2.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

TopicPartition = tuple[str, int]


class Committed(NamedTuple):
    """`position` is its record's place in the offsets log; `committed_ms` its coordinator's clock."""

    offset: int
    leader_epoch: int
    metadata: str
    position: int
    committed_ms: int = 0


class Held(NamedTuple):
    """An offset that its transaction has not decided on yet."""

    group: str
    partition: TopicPartition
    entry: Committed


class Offsets:
    """Everything one offsets partition says, of all its groups.

    The newest record wins, whatever order the acknowledgements (or the markers of transactions) come in: as
    in Kafka, so that compaction, which keeps the newest record, cannot change what is committed.
    """

    def __init__(self) -> None:
        self.committed: dict[str, dict[TopicPartition, Committed]] = {}
        self._pending: dict[int, list[Held]] = {}
        self._ended: dict[int, tuple[int, bool]] = {}
        """Each producer's newest marker: (position, commit)."""
        self._writing: Counter[tuple[str, TopicPartition]] = Counter()

    def commit(self, group: str, partition: TopicPartition, entry: Committed) -> None:
        known = self.committed.setdefault(group, {})
        if partition not in known or known[partition].position < entry.position:
            known[partition] = entry

    def forget(self, group: str, partition: TopicPartition, position: int) -> None:
        """By a tombstone at that position."""
        known = self.committed.get(group, {})
        if partition in known and known[partition].position < position:
            del known[partition]
        if not known:
            self.committed.pop(group, None)

    def knows(self, group: str) -> bool:
        """Has it committed anything, or may it have?"""
        held = (held.group for pending in self._pending.values() for held in pending)
        being_written = (of for of, _ in self._writing)
        return bool(self.committed.get(group)) or group in held or group in being_written

    def in_use(self, group: str, partition: TopicPartition) -> bool:
        return (group, partition) in self._writing or self.unstable(group, partition)

    @contextmanager
    def writing(self, group: str, partitions: Iterable[TopicPartition]) -> Iterator[None]:
        """While commits of them are appended: what is known of them is not the newest any more."""
        places = [(group, partition) for partition in partitions]
        self._writing.update(places)
        try:
            yield
        finally:
            self._writing.subtract(places)
            self._writing = +self._writing

    def hold(self, producer_id: int, group: str, partition: TopicPartition, entry: Committed) -> None:
        """A transactional commit: invisible until its marker (which may have been acknowledged first)."""
        marker, commit = self._ended.get(producer_id, (-1, False))
        if entry.position < marker:
            if commit:
                self.commit(group, partition, entry)
            return
        self._pending.setdefault(producer_id, []).append(Held(group, partition, entry))

    def end(self, producer_id: int, marker_position: int, *, commit: bool) -> list[str]:
        """The transaction's marker: its offsets become visible, or vanish. What was appended behind the
        marker is the next transaction's and stays. Returns the groups it touched."""
        known, _ = self._ended.get(producer_id, (-1, False))
        if marker_position <= known:
            return []
        self._ended[producer_id] = (marker_position, commit)
        touched = []
        for held in self._pending.pop(producer_id, []):
            if held.entry.position > marker_position:
                self.hold(producer_id, *held)
            elif commit:
                self.commit(*held)
                touched.append(held.group)
        return list(dict.fromkeys(touched))

    def open_transaction(self, producer_id: int) -> bool:
        return producer_id in self._pending

    def last_marker(self, producer_id: int) -> int:
        """Its position, -1 for none."""
        return self._ended.get(producer_id, (-1, False))[0]

    def unstable(self, group: str, partition: TopicPartition) -> bool:
        """Does a transaction hold an offset for it whose outcome is not known yet?"""
        return any(
            held.group == group and held.partition == partition
            for pending in self._pending.values()
            for held in pending
        )
