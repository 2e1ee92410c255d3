"""A group's committed offsets, and those that wait for their transaction to end (semantics 2.4.7, 2.5)."""

from __future__ import annotations

from typing import NamedTuple

TopicPartition = tuple[str, int]


class Committed(NamedTuple):
    """`position` is where the offsets log made it visible: its record, or its transaction's marker."""

    offset: int
    leader_epoch: int
    metadata: str
    position: int


class Offsets:
    """Everything one offsets partition says, of all its groups.

    Applied in the order of the log, whatever order the acknowledgements come in: an entry never replaces
    one of a later position.
    """

    def __init__(self) -> None:
        self.committed: dict[str, dict[TopicPartition, Committed]] = {}
        self._pending: dict[int, dict[str, dict[TopicPartition, Committed]]] = {}
        self._ended: dict[int, tuple[int, bool]] = {}
        """Each producer's newest marker: (position, commit)."""

    def commit(self, group: str, partition: TopicPartition, entry: Committed) -> None:
        known = self.committed.setdefault(group, {})
        if partition not in known or known[partition].position < entry.position:
            known[partition] = entry

    def forget(self, group: str, partition: TopicPartition) -> None:
        self.committed.get(group, {}).pop(partition, None)

    def hold(self, producer_id: int, group: str, partition: TopicPartition, entry: Committed) -> None:
        """A transactional commit: invisible until its marker (which may have been acknowledged first)."""
        marker, commit = self._ended.get(producer_id, (-1, False))
        if entry.position < marker:
            if commit:
                self.commit(group, partition, entry._replace(position=marker))
            return
        of_group = self._pending.setdefault(producer_id, {}).setdefault(group, {})
        if partition not in of_group or of_group[partition].position < entry.position:
            of_group[partition] = entry

    def end(self, producer_id: int, marker_position: int, *, commit: bool) -> list[str]:
        """The transaction's marker: its offsets become visible at the marker's position, or vanish. What
        was appended behind the marker is the next transaction's and stays. Returns the groups it touched."""
        known, _ = self._ended.get(producer_id, (-1, False))
        if marker_position <= known:
            return []
        self._ended[producer_id] = (marker_position, commit)
        held = self._pending.pop(producer_id, {})
        touched = []
        for group, entries in held.items():
            for partition, entry in entries.items():
                if entry.position > marker_position:
                    self.hold(producer_id, group, partition, entry)
                elif commit:
                    self.commit(group, partition, entry._replace(position=marker_position))
                    touched.append(group)
        return list(dict.fromkeys(touched))

    def open_transaction(self, producer_id: int) -> bool:
        return producer_id in self._pending

    def last_marker(self, producer_id: int) -> int:
        """Its position, -1 for none."""
        return self._ended.get(producer_id, (-1, False))[0]

    def unstable(self, group: str, partition: TopicPartition) -> bool:
        """Does a transaction hold an offset for it whose outcome is not known yet?"""
        return any(partition in by_group.get(group, {}) for by_group in self._pending.values())
