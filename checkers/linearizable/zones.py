"""Registers whose values are unique, all keys at once, in O(n log n) (Gibbons and Korach, "Testing shared memories",
1997).

The operations of one value (of one chain, see `chains`) need one unbroken stretch of time. Let `low` be the earliest
end among them and `high` the latest start. If low < high the stretch must cover [low, high], a forward zone; else it
can be a point anywhere in [high, low], a backward zone. There is a legal order exactly if

1. no operation of a chain ended before something that its chain has earlier began (a read before its write, a read
   of an older value after a read of a newer one),
2. no two forward zones overlap,
3. no backward zone lies inside a forward one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkers.linearizable.chains import NOBODY, Chains, Registers, chains, registers
from checkers.linearizable.partition import Calls, Mask
from harness.columns import OPEN, Ints


@dataclass(frozen=True, slots=True)
class Zones:
    found: Registers
    chained: Chains
    lowest: Ints
    """Of each writer: the earliest end of it and of its reads."""
    latest: Ints
    """The latest start."""
    low: Ints
    """Of each root: the same over its chain."""
    high: Ints
    phantom: Ints
    """Reads of what nobody wrote (places among the reads)."""
    unrooted: Ints
    """Writers that replaced what nobody wrote, or that wait for each other in a circle."""
    split: Ints
    """Writers whose value was replaced twice."""
    backwards: Ints
    """Writers that break condition 1: something of theirs ended before something earlier in the chain began."""
    overlapping: tuple[Ints, Ints]
    """Pairs of roots that break condition 2; at least one pair a key that has any."""
    inside: tuple[Ints, Ints]
    """Pairs of a root and the one inside of whose forward zone it lies (condition 3)."""

    def broken(self) -> Ints:
        """Keys without a legal order."""
        key = self.found.key
        return np.unique(
            np.concatenate(
                (
                    self.found.read_key[self.phantom],
                    key[self.unrooted],
                    key[self.split],
                    key[self.backwards],
                    key[self.overlapping[0]],
                    key[self.inside[0]],
                )
            )
        )


def zones(calls: Calls, initial: int) -> Zones:
    """`initial` is the place of the registers' initial value in `calls.values`."""
    found = registers(calls, initial)
    chained = chains(found)
    lowest, latest = found.end.copy(), found.start.copy()
    phantom = np.flatnonzero(found.read_writer == NOBODY)
    known = found.read_writer != NOBODY
    np.minimum.at(lowest, found.read_writer[known], found.read_end[known])
    np.maximum.at(latest, found.read_writer[known], found.read_start[known])
    judged = chained.confirmed & ~_among(found.key, found.ambiguous)
    unrooted = judged & (found.orphaned | (chained.root == NOBODY))
    sound = np.flatnonzero(judged & (chained.root != NOBODY))
    root = chained.root[sound]
    low = np.full(len(lowest), OPEN)
    high = np.full(len(latest), NOBODY - 1)
    np.minimum.at(low, root, lowest[sound])
    np.maximum.at(high, root, latest[sound])
    base = _base(calls)
    roots = np.unique(root)
    forward = roots[low[roots] < high[roots]]
    forward = forward[np.argsort(found.key[forward] * base + low[forward], kind="stable")]
    return Zones(
        found=found,
        chained=chained,
        lowest=lowest,
        latest=latest,
        low=low,
        high=high,
        phantom=phantom,
        unrooted=np.flatnonzero(unrooted),
        split=np.flatnonzero(judged & chained.split),
        backwards=_backwards(found, chained, lowest, latest, sound, base),
        overlapping=_overlapping(found.key, low, high, forward),
        inside=_inside(found.key, low, high, forward, roots[low[roots] >= high[roots]], base),
    )


def _among(keys: Ints, some: Ints) -> Mask:
    return np.isin(keys, some) if len(some) else np.zeros(len(keys), dtype=bool)


def _base(calls: Calls) -> int:
    """More than any place, so that key x base + place sorts by key, then place."""
    ends = calls.end[calls.end < OPEN]
    return int(max(calls.start.max(initial=0), ends.max(initial=0))) + 8


def _backwards(found: Registers, chained: Chains, lowest: Ints, latest: Ints, sound: Ints, base: int) -> Ints:
    order = sound[np.lexsort((chained.depth[sound], chained.root[sound]))]
    if not len(order):
        return order
    root = chained.root[order]
    first = np.concatenate(([True], root[1:] != root[:-1]))
    rank = np.cumsum(first) * base
    running = np.maximum.accumulate(latest[order] + rank) - rank
    earlier = np.concatenate(([NOBODY - 1], running[:-1]))
    must_follow = np.where(first, found.start[order], np.maximum(earlier, found.start[order]))
    return order[lowest[order] < must_follow]


def _overlapping(key: Ints, low: Ints, high: Ints, forward: Ints) -> tuple[Ints, Ints]:
    """Among zones in order of their beginning, if any two overlap then so do two neighbours."""
    left, right = forward[:-1], forward[1:]
    broken = (key[left] == key[right]) & (low[right] < high[left])
    return left[broken], right[broken]


def _inside(key: Ints, low: Ints, high: Ints, forward: Ints, backward: Ints, base: int) -> tuple[Ints, Ints]:
    if not len(forward):
        return backward[:0], backward[:0]
    begin = key[forward] * base + low[forward]
    place = np.searchsorted(begin, key[backward] * base + high[backward], side="right") - 1
    around = forward[np.maximum(place, 0)]
    inside = (place >= 0) & (key[around] == key[backward]) & (low[backward] < high[around])
    return backward[inside], around[inside]
