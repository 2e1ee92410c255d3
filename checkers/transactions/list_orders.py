"""Lists that were read: what of each is evidence, and the order of versions that the longest of a key shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from checkers.transactions.direct import Direct, Directs
from checkers.transactions.micro_operations import (
    FAIL,
    OK,
    READ,
    WRITE,
    Flags,
    Ints,
    Transactions,
    named_key,
    shown,
)
from checkers.transactions.own_writes import OwnWrites
from checkers.transactions.versions import Writers

CHUNK = 2_000_000
"""Elements that are compared at a time."""


@dataclass(frozen=True, slots=True)
class Reads:
    """The reads that count, and how many elements of each somebody else put there."""

    op: Ints
    length: Ints


@dataclass(frozen=True, slots=True)
class Orders:
    """The versions of every key in order, one after the other: those of key `k` are `begin[k]` to `begin[k + 1]`.
    `write` is the append, -1 where nobody made it. `agrees` says which reads are prefixes of it."""

    begin: Ints
    value: Ints
    write: Ints
    shown_by: Ints
    agrees: Flags
    without_unknown: frozenset[int] = frozenset()
    """Keys of which what transactions of unknown outcome wrote was left out, so that their reads agree."""


def external_reads(txns: Transactions, own: OwnWrites, directs: Directs) -> Reads:
    """Each read without the transaction's own appends at its end. `internal`: they are not there, or an earlier
    read of the same key showed another list (which is evidence all the same)."""
    op = np.flatnonzero((txns.kind == READ) & (txns.outcome[txns.txn] == OK))
    length = txns.length[op] - own.before[op]
    good = length >= 0
    write = own.previous_write[op]
    place = txns.start[op] + txns.length[op] - 1
    left = np.where(good, own.before[op], 0)
    while True:
        rows = np.flatnonzero(left > 0)
        if not len(rows):
            break
        good[rows] &= txns.elements[place[rows]] == txns.value[write[rows]]
        write[rows] = own.previous_write[write[rows]]
        place[rows] -= 1
        left[rows] -= 1
    without_own = np.full(len(txns.kind), -1, dtype=np.int64)
    without_own[op[good]] = length[good]
    broken = op[~good | _other_list(txns, own, op, without_own)]
    directs.add("internal", len(broken), (internal(txns, int(o)) for o in broken))
    return Reads(op[good], length[good])


def _other_list(txns: Transactions, own: OwnWrites, op: Ints, without_own: Ints) -> Flags:
    """Which reads differ from an earlier read of the transaction; reads of one list are of one length, and
    what is in them is compared with the version order."""
    earlier = own.previous[op]
    while True:
        write = (earlier >= 0) & (txns.kind[earlier] == WRITE)
        if not write.any():
            break
        earlier[write] = own.previous[earlier[write]]
    before = without_own[earlier]
    differs: Flags = (earlier >= 0) & (before >= 0) & (before != without_own[op])
    return differs


def internal(txns: Transactions, op: int) -> Direct:
    txn = int(txns.txn[op])
    key = txns.keys[int(txns.key[op])]
    return Direct(
        "internal",
        (txn,),
        (op,),
        f"{txns.name(txn)} read {named_key(key)} = {shown(txns.seen(op))}, which contradicts what it read and appended itself",
    )


def version_orders(txns: Transactions, reads: Reads, written_by: Writers) -> Orders:
    """The longest read of each key, and which reads are prefixes of it."""
    key = txns.key[reads.op]
    by_length = np.lexsort((reads.length, key))
    last = np.ones(len(by_length), dtype=np.bool_)
    last[:-1] = key[by_length][1:] != key[by_length][:-1]
    longest = by_length[last]
    size = np.zeros(len(txns.keys), dtype=np.int64)
    size[key[longest]] = reads.length[longest]
    shown_by = np.full(len(txns.keys), -1, dtype=np.int64)
    shown_by[key[longest]] = reads.op[longest]
    begin = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(size)])
    value = txns.elements[spread(txns.start[np.maximum(shown_by, 0)], size)]
    keys = np.repeat(np.arange(len(size)), size)
    agrees = np.ones(len(reads.op), dtype=np.bool_)
    for rows in chunks(reads.length):
        read = txns.elements[spread(txns.start[reads.op[rows]], reads.length[rows])]
        same = read == value[spread(begin[key[rows]], reads.length[rows])]
        if not same.all():
            owner = np.repeat(rows, reads.length[rows])
            agrees[owner[~same]] = False
    return Orders(begin, value, written_by.find(keys, value), shown_by, agrees)


def spread(start: Ints, length: Ints) -> Ints:
    """The positions `start[i]`, `start[i] + 1`, … of every slice, one slice after the other."""
    total = int(length.sum())
    ends = np.cumsum(length)
    places: Ints = np.arange(total) + np.repeat(start - (ends - length), length)
    return places


def chunks(length: Ints) -> Iterator[Ints]:
    """Rows whose slices hold some `CHUNK` elements together."""
    ends = np.cumsum(length)
    begin = 0
    while begin < len(length):
        reached = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, reached + CHUNK, side="right")))
        yield np.arange(begin, end)
        begin = end


def usable_versions(txns: Transactions, orders: Orders) -> Flags:
    """Versions that a transaction wrote which did not fail, each once."""
    known = orders.write >= 0
    usable: Flags = known & (txns.outcome[txns.txn[np.maximum(orders.write, 0)]] != FAIL)
    _, first = np.unique(orders.write, return_index=True)
    once = np.zeros(len(usable), dtype=np.bool_)
    once[first] = True
    usable &= once
    return usable


@dataclass(frozen=True, slots=True)
class Chain:
    """The usable versions of every key in order, in `write`; `begin` as in `Orders`. `position` counts the usable
    versions before each place of the whole order."""

    begin: Ints
    write: Ints
    position: Ints
    whole: Orders

    @classmethod
    def of(cls, orders: Orders, usable: Flags) -> Chain:
        position = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(usable)])
        return cls(position[orders.begin], orders.write[usable], position, orders)

    def next_of(self, txns: Transactions, reads: Reads) -> tuple[Ints, Ints, Ints]:
        """For each read that agrees: its row, and the places of the last version in it and of the first one not
        in it (-1 for none)."""
        rows = np.flatnonzero(self.whole.agrees)
        key = txns.key[reads.op[rows]]
        following = self.position[self.whole.begin[key] + reads.length[rows]]
        last = np.where(following > self.begin[key], following - 1, -1)
        return rows, last, np.where(following < self.begin[key + 1], following, -1)
