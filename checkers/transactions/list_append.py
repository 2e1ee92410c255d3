"""Model `list-append`: a read shows the whole list, so it shows the order of all versions before it.

The order of a key is its longest read; every other read must be a prefix of it. Values of transactions that
certainly failed are left out before reads are compared: a dirty read is one anomaly, not two. What a
transaction appended itself lies over the list that it read and says nothing of the order of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from checkers.transactions.direct import Direct, Directs, Inference
from checkers.transactions.graph import RW, WR, WW, Graph, edges, union
from checkers.transactions.micro_operations import (
    FAIL,
    INFO,
    OK,
    READ,
    WRITE,
    Flags,
    Ints,
    Transactions,
    named_key,
    shown,
)
from checkers.transactions.own_writes import OwnWrites, own_writes
from checkers.transactions.versions import Writers, writers

CHUNK = 2_000_000
"""Elements that are compared at a time."""
MOST_UNREAD = 16
"""Of the appends of one key that nobody read, as many are taken as successors of its longest read."""


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


def infer(txns: Transactions) -> Inference:
    """Raises `UserError` where a value is appended to a key twice."""
    directs = Directs()
    written_by = writers(txns, "appends")
    own = own_writes(txns)
    reads = external_reads(txns, own, directs)
    orders = version_orders(txns, reads, written_by)
    reads, orders = settle(txns, reads, orders, written_by, directs)
    usable = usable_versions(txns, orders)
    repeated_and_garbage(txns, reads, orders, directs)
    aborted_reads(txns, reads, orders, directs)
    dirty_updates(txns, orders, directs)
    committed = txns.outcome == OK
    proven = txns.txn[orders.write[usable]]
    committed[proven[txns.outcome[proven] == INFO]] = True
    chain = Chain.of(orders, usable)
    intermediate_reads(txns, own, reads, chain, directs)
    reads_ahead(txns, reads, chain, directs)
    graph = dependencies(txns, reads, chain)
    lost_updates(txns, own, reads, chain, directs)
    unread = unread_appends(txns, chain)
    graph = union(len(txns), [graph, before_unread(txns, reads, chain, unread)])
    return Inference(committed, graph, directs, len(unread), orders.shown_by, orders.without_unknown)


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
    directs.add("internal", len(broken), (_internal(txns, int(o)) for o in broken))
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


def _internal(txns: Transactions, op: int) -> Direct:
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


def settle(
    txns: Transactions, reads: Reads, orders: Orders, written_by: Writers, directs: Directs
) -> tuple[Reads, Orders]:
    """Keys whose reads disagree, one by one: what failed, or may have failed, is taken out of their reads. What
    still disagrees is `incompatible-order`, and those reads say no more."""
    if orders.agrees.all():
        return reads, orders
    from checkers.transactions.disagreement import resolve

    return resolve(txns, reads, orders, written_by, directs)


def usable_versions(txns: Transactions, orders: Orders) -> Flags:
    """Versions that a transaction wrote which did not fail, each once."""
    known = orders.write >= 0
    usable: Flags = known & (txns.outcome[txns.txn[np.maximum(orders.write, 0)]] != FAIL)
    _, first = np.unique(orders.write, return_index=True)
    once = np.zeros(len(usable), dtype=np.bool_)
    once[first] = True
    usable &= once
    return usable


def repeated_and_garbage(txns: Transactions, reads: Reads, orders: Orders, directs: Directs) -> None:
    known = orders.write >= 0
    _, first = np.unique(orders.write, return_index=True)
    again = np.ones(len(known), dtype=np.bool_)
    again[first] = False
    again &= known
    for name, place, told in (
        ("garbage-read", ~known, "which nobody appended"),
        ("duplicate-elements", again, "twice"),
    ):
        where = np.flatnonzero(place)
        directs.add(name, len(where), (_element(txns, orders, name, int(p), told) for p in where))


def key_of(orders: Orders, place: int) -> int:
    return int(np.searchsorted(orders.begin, place, side="right")) - 1


def _element(txns: Transactions, orders: Orders, name: str, place: int, told: str) -> Direct:
    key = key_of(orders, place)
    op = int(orders.shown_by[key])
    txn = int(txns.txn[op])
    value = txns.plain_value(int(orders.value[place]))
    write = int(orders.write[place])
    by = () if write < 0 else (int(txns.txn[write]),)
    return Direct(
        name,
        (txn, *by),
        (op, *(() if write < 0 else (write,))),
        f"{txns.name(txn)} read {named_key(txns.keys[key])} = {shown(txns.seen(op))} with {value!r} in it, {told}",
    )


def aborted_reads(txns: Transactions, reads: Reads, orders: Orders, directs: Directs) -> None:
    """G1a: the read holds an element of a transaction that certainly failed."""
    failed = (orders.write >= 0) & (txns.outcome[txns.txn[np.maximum(orders.write, 0)]] == FAIL)
    if not failed.any():
        return
    reach = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(failed)])
    begin = orders.begin[txns.key[reads.op]]
    dirty = np.flatnonzero(orders.agrees & (reach[begin + reads.length] > reach[begin]))

    def told() -> Iterator[Direct]:
        for row in dirty:
            at = int(begin[row])
            place = at + int(np.argmax(failed[at : at + int(reads.length[row])]))
            yield aborted_read(txns, int(reads.op[row]), int(orders.write[place]))

    directs.add("G1a", len(dirty), told())


def aborted_read(txns: Transactions, op: int, write: int) -> Direct:
    reader, writer = int(txns.txn[op]), int(txns.txn[write])
    key, value = txns.keys[int(txns.key[op])], txns.plain_value(int(txns.value[write]))
    return Direct(
        "G1a",
        (reader, writer),
        (op, write),
        f"{txns.name(reader)} read {named_key(key)} = {shown(txns.seen(op))} with {value!r} in it, "
        f"which {txns.name(writer)} appended, and {txns.name(writer)} failed",
    )


def dirty_updates(txns: Transactions, orders: Orders, directs: Directs) -> None:
    """A committed append stands in the list right after one that certainly failed."""
    outcome = np.where(orders.write >= 0, txns.outcome[txns.txn[np.maximum(orders.write, 0)]], INFO)
    failed, committed = outcome == FAIL, outcome == OK
    if len(outcome) < 2:
        return
    follows = np.ones(len(outcome) - 1, dtype=np.bool_)
    inner = orders.begin[1:-1]
    follows[inner[(inner > 0) & (inner < len(outcome))] - 1] = False
    built = np.flatnonzero(failed[:-1] & committed[1:] & follows)

    def told() -> Iterator[Direct]:
        for place in built:
            base, update = int(orders.write[place]), int(orders.write[place + 1])
            aborted, writer = int(txns.txn[base]), int(txns.txn[update])
            key = txns.keys[int(txns.key[update])]
            yield Direct(
                "dirty-update",
                (writer, aborted),
                (update, base),
                f"{txns.name(writer)} committed its append of {txns.plain_value(int(txns.value[update]))!r} to "
                f"{named_key(key)} right after {txns.plain_value(int(txns.value[base]))!r} of {txns.name(aborted)}, which failed",
            )

    directs.add("dirty-update", len(built), told())


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


def intermediate_reads(
    txns: Transactions, own: OwnWrites, reads: Reads, chain: Chain, directs: Directs
) -> None:
    """G1b: the last element read is one that its writer appended to before it was done with the key."""
    rows, last, _ = chain.next_of(txns, reads)
    rows, last = rows[last >= 0], last[last >= 0]
    write = chain.write[last]
    op = reads.op[rows]
    hits = np.flatnonzero(~own.final[write] & (txns.txn[write] != txns.txn[op]))

    def told() -> Iterator[Direct]:
        for hit in hits:
            read, seen = int(op[hit]), int(write[hit])
            reader, writer = int(txns.txn[read]), int(txns.txn[seen])
            key = txns.keys[int(txns.key[read])]
            yield Direct(
                "G1b",
                (reader, writer),
                (read, seen),
                f"{txns.name(reader)} read {named_key(key)} = {shown(txns.seen(read))}, a state in the middle of "
                f"{txns.name(writer)}, which appended to {named_key(key)} again after {txns.plain_value(int(txns.value[seen]))!r}",
            )

    directs.add("G1b", len(hits), told())


def reads_ahead(txns: Transactions, reads: Reads, chain: Chain, directs: Directs) -> None:
    """`internal`: the last element read is one that the reader itself appended only later."""
    rows, last, _ = chain.next_of(txns, reads)
    rows, last = rows[last >= 0], last[last >= 0]
    ahead = reads.op[rows[txns.txn[chain.write[last]] == txns.txn[reads.op[rows]]]]
    directs.add("internal", len(ahead), (_internal(txns, int(op)) for op in ahead))


def dependencies(txns: Transactions, reads: Reads, chain: Chain) -> Graph:
    """ww between neighbours in the order, wr from the last version read, rw to the first version not read."""
    n = len(txns)
    write = chain.write
    same_key = txns.key[write[1:]] == txns.key[write[:-1]]
    before, after = write[:-1][same_key], write[1:][same_key]
    rows, last, following = chain.next_of(txns, reads)
    op = reads.op[rows]
    some, more = last >= 0, following >= 0
    seen, reader = write[last[some]], op[some]
    over = write[following[more]]
    base = np.where(last[more] >= 0, txns.txn[write[np.maximum(last[more], 0)]], -1) if len(write) else over
    skipped = base == txns.txn[over]
    readers, over = op[more][~skipped], over[~skipped]
    return union(
        n,
        [
            edges(WW, n, txns.txn[before], txns.txn[after], before, after),
            edges(WR, n, txns.txn[seen], txns.txn[reader], seen, reader),
            edges(RW, n, txns.txn[readers], txns.txn[over], readers, over),
        ],
    )


def unread_appends(txns: Transactions, chain: Chain) -> Ints:
    """Appends of transactions that committed, which no read shows: they come after all that were read."""
    shown = np.zeros(len(txns.kind), dtype=np.bool_)
    known = chain.whole.write
    shown[known[known >= 0]] = True
    return np.flatnonzero((txns.kind == WRITE) & (txns.outcome[txns.txn] == OK) & ~shown)


def before_unread(txns: Transactions, reads: Reads, chain: Chain, unread: Ints) -> Graph:
    """rw from those who read a whole list to those whose appends stand in no list: one of them overwrote what was
    read, and the others overwrote that one. Keys with disagreeing reads are left out: their end is not known."""
    n = len(txns)
    rows, _, following = chain.next_of(txns, reads)
    doubtful = np.zeros(len(txns.keys), dtype=np.bool_)
    doubtful[txns.key[reads.op[~chain.whole.agrees]]] = True
    whole = reads.op[rows[following < 0]]
    whole = whole[~doubtful[txns.key[whole]]]
    by_key = unread[np.argsort(txns.key[unread], kind="stable")]
    key = txns.key[by_key]
    begin = np.searchsorted(key, txns.key[whole], side="left")
    many = np.minimum(np.searchsorted(key, txns.key[whole], side="right") - begin, MOST_UNREAD)
    reader = np.repeat(whole, many)
    write = by_key[spread(begin, many)]
    return edges(RW, n, txns.txn[reader], txns.txn[write], reader, write)


def lost_updates(txns: Transactions, own: OwnWrites, reads: Reads, chain: Chain, directs: Directs) -> None:
    """Two committed transactions read the same version of a key and then appended to it."""
    rows, last, _ = chain.next_of(txns, reads)
    op = reads.op[rows]
    writes = np.flatnonzero((txns.kind == WRITE) & (txns.outcome[txns.txn] == OK) & own.final)
    width = max(1, len(txns.keys))
    updated = np.sort(txns.txn[writes] * width + txns.key[writes])
    asked = txns.txn[op] * width + txns.key[op]
    if not len(updated) or not len(asked):
        return
    place = np.minimum(np.searchsorted(updated, asked), len(updated) - 1)
    both = (updated[place] == asked) & (own.before[op] == 0)
    op, last = op[both], last[both]
    version = np.where(last >= 0, last, -1 - txns.key[op])
    order = np.lexsort((txns.txn[op], version))
    op, version = op[order], version[order]
    pair = np.flatnonzero((version[1:] == version[:-1]) & (txns.txn[op[1:]] != txns.txn[op[:-1]]))

    def told() -> Iterator[Direct]:
        for at in pair:
            first, second = int(op[at]), int(op[at + 1])
            a, b = int(txns.txn[first]), int(txns.txn[second])
            key = txns.keys[int(txns.key[first])]
            yield Direct(
                "lost-update",
                (a, b),
                (first, second),
                f"{txns.name(a)} and {txns.name(b)} both read {named_key(key)} = {shown(txns.seen(first))} and both appended to "
                "it: one of them did not see the other",
            )

    directs.add("lost-update", len(pair), told())
