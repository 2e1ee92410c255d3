"""Who keeps a key while the ring is what it is: who answers reads, and who must take writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from systems.quorum.membership.state import Member, RingState
from systems.quorum.ring import Ring
from systems.quorum.settings import copies

Owners = tuple[str, ...]


class Placement:
    """Of one epoch. Immutable."""

    def __init__(
        self,
        state: RingState,
        *,
        n: int,
        vnodes: int,
        bugs: frozenset[str] = frozenset(),
    ) -> None:
        self.state = state
        self.epoch = state.epoch
        self.n = n
        self._bugs = bugs

        def ring(members: dict[str, Member]) -> Ring:
            return Ring(
                {name: member.tokens for name, member in members.items()},
                vnodes=vnodes,
                weights={name: member.weight for name, member in members.items()},
                distinct="vnodes-collocated" not in bugs,
            )

        self._old = ring(state.members)
        self.ring = self._old if state.stage == "stable" else ring(state.coming)
        """The ring once nothing changes any more."""

    def _kept(self, owners: Owners) -> Owners:
        """Without those that will never answer again. How many have to answer stays the same."""
        lost = self.state.lost
        return tuple(name for name in owners if name not in lost) if lost else owners

    def readers(self, key: str) -> Owners:
        if self.state.stage == "handing-over":
            return self.ring.preference(key, self.n)
        return self._kept(self._old.preference(key, self.n))

    def write_sets(self, key: str) -> tuple[Owners, ...]:
        """W of each set must have a write: during a change of the old owners and of the new ones."""
        old = self._kept(self._old.preference(key, self.n))
        if self.state.stage == "stable":
            return (old,)
        new = self.ring.preference(key, self.n)
        if "bootstrap-no-pending-writes" in self._bugs:
            return (old,) if self.state.stage == "streaming" else (new,)
        return (old,) if old == new else (old, new)

    def writers(self, key: str) -> Owners:
        """All that a write goes to."""
        return tuple(dict.fromkeys(name for owners in self.write_sets(key) for name in owners))

    def fallbacks(self, key: str) -> Owners:
        """Who may stand in for a writer that is down: members that stay."""
        writers = self.writers(key)
        return tuple(name for name in self.ring.walk(key) if name not in writers)

    def keeps(self, name: str, key: str) -> bool:
        return name in self.writers(key)

    def gains(self, name: str, key: str) -> bool:
        """Whether it has to fetch what others have of the key."""
        old = self._kept(self._old.preference(key, self.n))
        return self.state.stage != "stable" and name not in old and name in self.ring.preference(key, self.n)

    def ranges(self) -> Iterator[tuple[Owners, Owners]]:
        """Old and new owners of every range of tokens."""
        for place in sorted({*self._old.tokens, *self.ring.tokens}):
            yield (
                self._kept(self._old.preference_at(place, self.n)),
                self.ring.preference_at(place, self.n),
            )

    def gainers(self) -> tuple[str, ...]:
        """Who has to fetch something, in the order of the names."""
        if self.state.stage == "stable":
            return ()
        found = {name for old, new in self.ranges() for name in new if name not in old}
        return tuple(sorted(found))

    def fetched(self, name: str, sources: Callable[[str], bool], need: int) -> bool:
        """Whether `sources` include, for every range that the node gains, so many of its owners (or all there are)."""
        return all(
            sum(map(sources, old)) >= min(need, len(old))
            for old, new in self.ranges()
            if name in new and name not in old
        )

    def blocks_older(self, knows: Callable[[str], bool], need: int) -> bool:
        """Whether so many owners of every range know this epoch that none of an older one can have its quorum. Who is
        lost never answers at all."""
        return all(sum(map(knows, old)) + self.n - len(old) >= need for old, _ in self.ranges())


def meeting(config: Mapping[str, Any]) -> int:
    """So many owners that every read quorum and every write quorum has one of them, and at least a read quorum."""
    n = int(config["replication.factor"])
    r, w = copies(str(config["read.quorum"]), n), copies(str(config["write.quorum"]), n)
    if config["conflict"] == "abd":
        r, w = max(r, n // 2 + 1), max(w, n // 2 + 1)
    return max(r, n - r + 1, n - w + 1)
