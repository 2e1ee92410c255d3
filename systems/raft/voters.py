"""Who votes: the latest entry that says so counts, committed or not (Ongaro's thesis, 4.1).

One voter is added or removed at a time, so that the majorities before and after a change share a node, and only once
an entry of the leader's own term is committed (the mistake of the thesis that was found in 2015).
"""

from __future__ import annotations

from systems.raft.log import RaftLog
from systems.raft.messages import Entry, Snapshot


class ChangeRefused(Exception):
    """The voters cannot change now; nothing was appended."""


class Voters:
    """Follows the log. `current` counts from the moment its entry is in the log; `index` is that entry's."""

    def __init__(self, configured: tuple[int, ...], log: RaftLog) -> None:
        self._known = [(log.snapshot.index, log.snapshot.voters or configured)]
        self.appended(log.snapshot.index + 1, log.after(log.snapshot.index, log.last_index))

    @property
    def current(self) -> tuple[int, ...]:
        return self._known[-1][1]

    @property
    def index(self) -> int:
        return self._known[-1][0]

    @property
    def majority(self) -> int:
        return len(self.current) // 2 + 1

    def at(self, index: int) -> tuple[int, ...]:
        """Those of a place that is not compacted away."""
        return next(voters for start, voters in reversed(self._known) if start <= index)

    def appended(self, first_index: int, entries: tuple[Entry, ...]) -> bool:
        """Whether they changed."""
        changes = [(first_index + i, e.voters) for i, e in enumerate(entries) if e.voters]
        self._known += changes
        return bool(changes)

    def truncated(self, index: int) -> None:
        """`index` and what follows are gone."""
        while len(self._known) > 1 and self._known[-1][0] >= index:
            self._known.pop()

    def compacted(self, snapshot: Snapshot, *, follows: bool) -> None:
        """A snapshot took the place of everything up to it, and of what came after unless that `follows` it."""
        voters = snapshot.voters or self._known[0][1]
        later = [known for known in self._known if known[0] > snapshot.index] if follows else []
        self._known = [(snapshot.index, voters), *later]
