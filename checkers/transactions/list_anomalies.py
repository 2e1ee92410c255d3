"""Direct anomalies of lists: elements that nobody wrote, or that were taken back, or that are there twice; updates
that were lost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from checkers.transactions.direct import Direct, Directs
from checkers.transactions.list_orders import Chain, Orders, Reads, internal
from checkers.transactions.micro_operations import (
    FAIL,
    INFO,
    OK,
    WRITE,
    Transactions,
    named_key,
    shown,
)
from checkers.transactions.own_writes import OwnWrites


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
    directs.add("internal", len(ahead), (internal(txns, int(op)) for op in ahead))


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
