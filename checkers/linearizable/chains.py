"""Who wrote each value, and which values must follow each other directly.

Where every value of a key is written at most once, a read names its write. A compare-and-set names the value that
it replaced, which it must follow with nothing between: values form chains of forced order, and a chain is to its
neighbours what a single value is to others. A plain write begins a chain; so does the initial value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkers.linearizable.partition import Calls, Mask
from harness.columns import FAIL, OK, OPEN, Ints, Table

BEFORE_ALL = -2
"""Where the initial value is written; it is complete one place later."""
NOBODY = -1


@dataclass(frozen=True, slots=True)
class Registers:
    """Writers sorted by `cluster` = key and value in one number; the initial value of each key is one, with row -1.
    `writer` of a read is a place among the writers."""

    cluster: Ints
    key: Ints
    start: Ints
    end: Ints
    row: Ints
    parent: Ints
    """The writer whose value a compare-and-set replaced; `NOBODY` for a plain write."""
    read_writer: Ints
    """`NOBODY` where nobody wrote the value."""
    read_key: Ints
    read_start: Ints
    read_end: Ints
    read_row: Ints
    ambiguous: Ints
    """Keys in which some value has two writers: they are not judged here."""
    orphaned: Mask
    """Of writers: compare-and-sets whose old value nobody wrote."""


def registers(calls: Calls, initial: int) -> Registers:
    """`initial` is the place of the initial value in `calls.values`."""
    names = {name: place for place, name in enumerate(calls.fs)}
    alive = calls.outcome != FAIL
    reads = np.flatnonzero((calls.f == names["read"]) & (calls.outcome == OK))
    plain = np.flatnonzero((calls.f == names["write"]) & alive)
    cas = np.flatnonzero((calls.f == names["cas"]) & alive) if "cas" in names else plain[:0]
    old, new, size = _compared(calls, cas)
    keys = np.unique(calls.key)
    written = np.concatenate((np.full(len(keys), initial), calls.asked[plain], new))
    key = np.concatenate((keys, calls.key[plain], calls.key[cas]))
    replaced = np.concatenate((np.full(len(keys) + len(plain), NOBODY), calls.key[cas] * size + old))
    many = len(keys)
    start = np.concatenate((np.full(many, BEFORE_ALL), calls.start[plain], calls.start[cas]))
    end = np.concatenate((np.full(many, BEFORE_ALL + 1), calls.end[plain], calls.end[cas]))
    row = np.concatenate((np.full(many, NOBODY), calls.row[plain], calls.row[cas]))
    cluster = key * size + written
    order = np.argsort(cluster, kind="stable")
    cluster, key, start, end, row, replaced = (
        column[order] for column in (cluster, key, start, end, row, replaced)
    )
    is_cas = replaced != NOBODY
    parent = np.where(is_cas, _find(cluster, replaced), NOBODY)
    twice = cluster[1:] == cluster[:-1]
    return Registers(
        cluster=cluster,
        key=key,
        start=start,
        end=end,
        row=row,
        parent=parent,
        read_writer=_find(cluster, calls.key[reads] * size + calls.answered[reads]),
        read_key=calls.key[reads],
        read_start=calls.start[reads],
        read_end=calls.end[reads],
        read_row=calls.row[reads],
        ambiguous=np.unique(key[1:][twice]),
        orphaned=is_cas & (parent == NOBODY),
    )


def _compared(calls: Calls, cas: Ints) -> tuple[Ints, Ints, int]:
    """Old and new value of compare-and-sets, as places in `calls.values`, and the number of all values: those that
    stand nowhere else get places beyond its end."""
    if not len(cas):
        return cas, cas, len(calls.values)
    table = Table()
    table.codes(calls.values)
    pairs = np.unique(calls.asked[cas])
    old = np.zeros(len(calls.values), dtype=np.int64)
    new = np.zeros(len(calls.values), dtype=np.int64)
    old[pairs] = table.codes([calls.values[p][0] for p in pairs])
    new[pairs] = table.codes([calls.values[p][1] for p in pairs])
    return old[calls.asked[cas]], new[calls.asked[cas]], len(table.things)


def _find(ordered: Ints, wanted: Ints) -> Ints:
    """The place of each in the order, or `NOBODY`."""
    if not len(ordered):
        return np.full(len(wanted), NOBODY)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[place] == wanted, place, NOBODY)


@dataclass(frozen=True, slots=True)
class Chains:
    """Of each writer: whether it took effect for certain, and its place in a chain. `root` is a writer, `NOBODY` in
    a circle of compare-and-sets."""

    confirmed: Mask
    root: Ints
    depth: Ints
    split: Mask
    """Two confirmed compare-and-sets replaced its value."""


def chains(found: Registers) -> Chains:
    """An `info` write that no certain operation saw may as well never have happened: it is not confirmed."""
    count = len(found.cluster)
    confirmed = found.end < OPEN
    confirmed[found.read_writer[found.read_writer >= 0]] = True
    frontier = np.flatnonzero(confirmed)
    while len(frontier):
        above = found.parent[frontier]
        above = np.unique(above[above >= 0])
        frontier = above[~confirmed[above]]
        confirmed[frontier] = True
    replacing = found.parent[confirmed & (found.parent >= 0)]
    children = np.bincount(replacing, minlength=count) if count else np.zeros(0, dtype=np.int64)
    root, depth = _roots(found.parent)
    return Chains(confirmed, root, depth, children > 1)


def _roots(parent: Ints) -> tuple[Ints, Ints]:
    """By doubling: after n rounds everything nearer than 2^n to its root has found it."""
    own = np.arange(len(parent))
    above = np.where(parent >= 0, parent, own)
    depth = (parent >= 0).astype(np.int64)
    for _ in range(max(len(parent), 1).bit_length() + 1):
        further = above[above]
        if (further == above).all():
            break
        depth = depth + np.where(above != own, depth[above], 0)
        above = further
    rooted = parent[above] < 0 if len(parent) else np.zeros(0, dtype=bool)
    return np.where(rooted, above, NOBODY), depth
