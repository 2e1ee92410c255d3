"""From a broken condition of the zones to the few operations that prove it, as early in the history as can be."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from checkers.linearizable.chains import NOBODY
from checkers.linearizable.partition import Calls, until
from checkers.linearizable.zones import Zones, zones
from harness.columns import OPEN, Ints

STALE, INVERSION, LOST = "stale-read", "new/old inversion", "lost-write"
UPDATE, PHANTOM, ABORTED = "lost-update", "phantom-read", "aborted-read"
QUICK_PROBES = 4
MOST_PROOFS = 8


class Member(msgspec.Struct, frozen=True):
    """An operation as a cluster sees it."""

    start: int
    end: int
    row: int
    writer: int
    reads: bool


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` cannot all be true together. `place` is the event at which that became known; `culprit` the operation
    that ended there; `newer` what it should have seen, or `seen`, the read that had already seen it."""

    place: int
    label: str
    rows: tuple[int, ...]
    culprit: int
    newer: int | None = None
    seen: int | None = None


def earliest(calls: Calls, initial: int) -> tuple[Evidence, Calls]:
    """The shortest beginning of a broken key's history that has no legal order, with its proof.

    Removing events from the end never makes a legal history illegal, so this can be bisected; mostly the proof that
    is found first is the earliest, and one more look confirms it.
    """
    best = _first(calls, initial)
    assert best is not None
    low, probes = -1, 0
    while best.place - 1 > low:
        probe = best.place - 1 if probes < QUICK_PROBES else (low + best.place) // 2
        probes += 1
        earlier = _first(until(calls, probe), initial)
        if earlier is None:
            low = probe
        else:
            best = earlier
    prefix = until(calls, best.place)
    return _telling(prefix, initial, best), prefix


def _first(calls: Calls, initial: int) -> Evidence | None:
    found = zones(calls, initial)
    if not len(found.broken()):
        return None
    writers = [_soonest(some, found.lowest[some]) for some in (found.unrooted, found.split, found.backwards)]
    for one, other in (found.overlapping, found.inside):
        pairs = _soonest(np.arange(len(one)), np.maximum(found.low[one], found.low[other]))
        writers += [one[pairs], other[pairs]]
    phantom = _soonest(found.phantom, found.found.read_end[found.phantom])
    clusters = Clusters(zones(_about(calls, found, np.concatenate(writers), phantom), initial))
    return min(_proofs(clusters), key=lambda proof: proof.place)


def _soonest(some: Ints, times: Ints) -> Ints:
    """Where a history is broken all over, what is worth a proof."""
    return some[np.argsort(times, kind="stable")[:MOST_PROOFS]]


def _about(calls: Calls, found: Zones, writers: Ints, phantom: Ints) -> Calls:
    """Only the chains of these writers, and these reads of what nobody wrote: a proof needs nothing else."""
    root = found.chained.root
    chosen = np.isin(root, root[writers])
    registers = found.found
    read = chosen[registers.read_writer] & (registers.read_writer != NOBODY)
    read[phantom] = True
    rows = np.concatenate((registers.row[chosen], registers.read_row[read]))
    return calls.of(np.isin(calls.row, rows))


class Clusters:
    """The zones of one key, with the operations in them."""

    def __init__(self, found: Zones) -> None:
        self.zones = found
        registers = found.found
        self.parent = registers.parent.tolist()
        self.root = found.chained.root.tolist()
        self.depth = found.chained.depth.tolist()
        self.lowest = found.lowest.tolist()
        self.confirmed = found.chained.confirmed.tolist()
        columns = zip(registers.start.tolist(), registers.end.tolist(), registers.row.tolist(), strict=True)
        self.writers = [Member(start, end, row, n, False) for n, (start, end, row) in enumerate(columns)]
        self.reads: list[list[Member]] = [[] for _ in self.writers]
        readers = zip(
            registers.read_start.tolist(),
            registers.read_end.tolist(),
            registers.read_row.tolist(),
            registers.read_writer.tolist(),
            strict=True,
        )
        self.phantoms: list[Member] = []
        for start, end, row, writer in readers:
            member = Member(start, end, row, writer, True)
            (self.reads[writer] if writer != NOBODY else self.phantoms).append(member)
        self.known = self._known()
        self.row_ending = {m.end: m.row for m in self.writers if m.end < OPEN}
        self.row_ending |= {m.end: m.row for reads in self.reads for m in reads}
        self.chain: dict[int, list[int]] = {}
        for writer, root in enumerate(self.root):
            if self.confirmed[writer]:
                self.chain.setdefault(root, []).append(writer)

    def members(self, root: int) -> Iterator[Member]:
        for writer in self.chain[root]:
            yield self.writers[writer]
            yield from self.reads[writer]

    def _known(self) -> list[int]:
        """When it is certain that each write took effect: it, a read of it, or what replaced it ended."""
        known = list(self.lowest)
        rank = sorted(range(len(known)), key=lambda n: -self.depth[n])
        for writer in rank:
            above = self.parent[writer]
            if above != NOBODY and self.confirmed[writer]:
                known[above] = min(known[above], known[writer])
        return known

    def between(self, *members: Member) -> list[int]:
        """Rows of the writes of these operations, and of what links them where they are of one chain."""
        rows: set[int] = set()
        by_root: dict[int, list[int]] = {}
        for member in members:
            by_root.setdefault(self.root[member.writer], []).append(member.writer)
        for writers in by_root.values():
            top = min(self.depth[w] for w in writers)
            for writer in writers:
                while writer != NOBODY and self.depth[writer] >= top:
                    rows.add(self.writers[writer].row)
                    writer = self.parent[writer]
        return sorted(rows - {NOBODY})


def _proofs(clusters: Clusters) -> Iterator[Evidence]:
    found = clusters.zones
    for read in clusters.phantoms:
        yield Evidence(place=read.end, label=PHANTOM, rows=(read.row,), culprit=read.row)
    for writer in found.unrooted.tolist():
        me = clusters.writers[writer]
        yield Evidence(
            place=min(me.end, clusters.known[writer]),
            label=PHANTOM,
            rows=(me.row,),
            culprit=me.row,
        )
    for writer in found.split.tolist():
        yield _replaced_twice(clusters, writer)
    for writer in found.backwards.tolist():
        proof = _backwards(clusters, writer)
        if proof is not None:
            yield proof
    for pairs in (found.overlapping, found.inside):
        for one, other in zip(pairs[0].tolist(), pairs[1].tolist(), strict=True):
            yield _both_first(clusters, one, other)


def _replaced_twice(clusters: Clusters, writer: int) -> Evidence:
    known = sorted(
        (clusters.known[n], n)
        for n, parent in enumerate(clusters.parent)
        if parent == writer and clusters.confirmed[n]
    )
    (first_known, one), (place, other) = known[:2]
    rows = {clusters.writers[n].row for n in (one, other, writer)} - {NOBODY}
    rows |= {clusters.row_ending[at] for at in (first_known, place)}
    return Evidence(
        place=place,
        label=UPDATE,
        rows=tuple(sorted(rows)),
        culprit=clusters.writers[other].row,
        newer=clusters.writers[one].row,
    )


def _backwards(clusters: Clusters, writer: int) -> Evidence | None:
    """Condition 1: `early` ended before `late`, which its chain has before it (or its own write), began. None where
    a chain is split, which is proof enough, and only the other branch is late."""
    early = min([clusters.writers[writer], *clusters.reads[writer]], key=lambda m: m.end)
    late: list[Member] = [clusters.writers[writer]]
    above = clusters.parent[writer]
    while above != NOBODY:
        late += [clusters.writers[above], *clusters.reads[above]]
        above = clusters.parent[above]
    late = [m for m in late if m.start > early.end]
    if not late:
        return None
    writes = [m for m in late if not m.reads]
    if writes:
        culprit = writes[0]
        return Evidence(
            place=max(early.end, min(culprit.end, clusters.known[culprit.writer])),
            label=PHANTOM,
            rows=tuple(sorted({early.row, *clusters.between(early, culprit)})),
            culprit=early.row,
        )
    reader = min(late, key=lambda m: m.end)
    newer = clusters.writers[writer]
    stale = newer.end < reader.start
    return Evidence(
        place=max(early.end, reader.end),
        label=STALE if stale else INVERSION,
        rows=tuple(sorted({early.row, reader.row, *clusters.between(early, reader)})),
        culprit=reader.row,
        newer=newer.row,
        seen=None if stale or not early.reads else early.row,
    )


def _both_first(clusters: Clusters, one: int, other: int) -> Evidence:
    """Conditions 2 and 3: something of each chain ended before something of the other began."""
    place, members = -1, []
    for before, after in ((one, other), (other, one)):
        first = min(clusters.members(before), key=lambda m: m.end)
        later = [m for m in clusters.members(after) if m.start > first.end]
        second = min(later, key=lambda m: (_certain_at(clusters, m), m.reads))
        at = _certain_at(clusters, second)
        members += [first, second]
        if at < second.end:
            members.append(next(m for m in clusters.members(after) if m.end == at))
        place = max(place, first.end, at)
    culprit = max((m for m in members if m.end < OPEN), key=lambda m: m.end)
    mine = clusters.root[culprit.writer]
    others = [m for m in members if clusters.root[m.writer] != mine]
    seen = min(others, key=lambda m: (m.end > culprit.start, not m.reads, m.end))
    rows = {m.row for m in members} | set(clusters.between(*members))
    return Evidence(
        place=place,
        label=INVERSION,
        rows=tuple(sorted(rows - {NOBODY})),
        culprit=culprit.row,
        newer=clusters.writers[seen.writer].row,
        seen=seen.row if seen.reads else None,
    )


def _certain_at(clusters: Clusters, member: Member) -> int:
    return member.end if member.reads else clusters.known[member.writer]


def _telling(prefix: Calls, initial: int, proof: Evidence) -> Evidence:
    """The plainest proof at the same place: a write that began after the value was known to be there, and was
    acknowledged before the read of that value began, is easier to follow than a read by somebody else."""
    if proof.label not in (INVERSION, STALE):
        return proof
    whole = zones(prefix, initial)
    registers, root = whole.found, whole.chained.root
    reader = np.flatnonzero(registers.read_row == proof.culprit)
    if not len(reader) or registers.read_end[reader[0]] != proof.place:
        return proof
    start, own = registers.read_start[reader[0]], registers.read_writer[reader[0]]
    known = whole.low[root[own]]
    newer = np.flatnonzero(
        (registers.start > known) & (registers.end < start) & (root != root[own]) & (root != NOBODY)
    )
    if not len(newer):
        return proof
    last = newer[np.argmax(registers.start[newer])]
    clusters = Clusters(zones(_about(prefix, whole, np.array([own]), whole.phantom[:0]), initial))
    reading = next(m for reads in clusters.reads for m in reads if m.row == proof.culprit)
    before = clusters.writers[reading.writer]
    if before.end > registers.start[last]:
        before = min(clusters.members(clusters.root[reading.writer]), key=lambda m: m.end)
    newer_row = int(registers.row[last])
    rows = {before.row, newer_row, reading.row, *clusters.between(before, reading)} - {NOBODY}
    return Evidence(
        place=proof.place,
        label=STALE,
        rows=tuple(sorted(rows)),
        culprit=reading.row,
        newer=newer_row,
    )
