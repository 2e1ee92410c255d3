"""Keys of which two reads are not prefixes of each other, one key at a time: few, or the database is beyond help.

A dirty read explains a disagreement: what it saw was taken back. So values of transactions that failed are
taken out of the reads first, then those of transactions of unknown outcome, which may have failed as well.
What still disagrees is `incompatible-order`, and those reads say no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checkers.transactions.direct import Direct, Directs
from checkers.transactions.list_anomalies import aborted_read
from checkers.transactions.list_orders import Orders, Reads, spread
from checkers.transactions.micro_operations import FAIL, INFO, Flags, Ints, Transactions, named_key, shown
from checkers.transactions.versions import Writers


def resolve(
    txns: Transactions, reads: Reads, orders: Orders, written_by: Writers, directs: Directs
) -> tuple[Reads, Orders]:
    """Reads and orders as they are after the doubtful has been taken out."""
    key_of_read = txns.key[reads.op]
    doubtful = np.unique(key_of_read[~orders.agrees])
    length, agrees, shown_by = reads.length.copy(), orders.agrees.copy(), orders.shown_by.copy()
    replaced: dict[int, list[int]] = {}
    without_unknown: set[int] = set()
    in_order = np.argsort(key_of_read, kind="stable")
    begin = np.searchsorted(key_of_read[in_order], doubtful, side="left")
    end = np.searchsorted(key_of_read[in_order], doubtful, side="right")
    for key, first, last in zip(doubtful.tolist(), begin.tolist(), end.tolist(), strict=True):
        rows = in_order[first:last]
        lists = [_read(txns, int(reads.op[row]), int(reads.length[row])) for row in rows]
        outcome = _outcomes(txns, key, lists, written_by)
        _tell_aborted(txns, key, reads.op[rows], lists, outcome, written_by, directs)
        order, kept, unknown = _agree(lists, outcome)
        replaced[key] = order
        if unknown:
            without_unknown.add(key)
        longest = max(range(len(rows)), key=lambda i: len(kept[i]))
        shown_by[key] = reads.op[rows[longest]]
        for row, values in zip(rows.tolist(), kept, strict=True):
            length[row] = len(values)
            agrees[row] = order[: len(values)] == values
        wrong = [int(row) for row in rows if not agrees[row]]
        if unknown:
            guessed = [any(outcome.get(v) == INFO for v in values) for values in lists]
            agrees[rows] &= ~np.array(guessed)
        directs.add(
            "incompatible-order",
            len(wrong),
            (_incompatible(txns, int(reads.op[row]), int(shown_by[key])) for row in wrong),
        )
    return Reads(reads.op, length), _rebuilt(
        orders, replaced, shown_by, agrees, frozenset(without_unknown), written_by
    )


def _read(txns: Transactions, op: int, length: int) -> list[int]:
    start = int(txns.start[op])
    return [int(v) for v in txns.elements[start : start + length]]


def _outcomes(
    txns: Transactions, key: int, lists: Sequence[Sequence[int]], written_by: Writers
) -> dict[int, int]:
    """Of every value that was read and written: what became of its transaction."""
    values = np.array(sorted({v for values in lists for v in values}), dtype=np.int64)
    writes = written_by.find(np.full(len(values), key, dtype=np.int64), values)
    return {
        int(v): int(txns.outcome[txns.txn[w]]) for v, w in zip(values, writes, strict=True) if int(w) >= 0
    }


def _agree(lists: Sequence[list[int]], outcome: dict[int, int]) -> tuple[list[int], list[list[int]], bool]:
    """The order, the reads after the smallest of the sets {failed}, {failed, unknown} was taken out of them that lets
    them agree (or the larger, if neither does), and whether it was the larger. A read from which something unknown
    was taken may have seen a version or not: it says nothing more."""
    kept: list[list[int]] = []
    order: list[int] = []
    unknown = False
    for unknown in (False, True):
        out = (FAIL, INFO) if unknown else (FAIL,)
        kept = [[v for v in values if outcome.get(v) not in out] for values in lists]
        order = max(kept, key=len)
        if all(order[: len(values)] == values for values in kept):
            break
    return order, kept, unknown


def _tell_aborted(
    txns: Transactions,
    key: int,
    ops: Ints,
    lists: Sequence[Sequence[int]],
    outcome: dict[int, int],
    written_by: Writers,
    directs: Directs,
) -> None:
    for op, values in zip(ops.tolist(), lists, strict=True):
        failed = [v for v in values if outcome.get(v) == FAIL]
        if failed:
            write = written_by.find(np.array([key]), np.array([failed[0]]))
            directs.add("G1a", 1, [aborted_read(txns, op, int(write[0]))])


def _incompatible(txns: Transactions, op: int, longest: int) -> Direct:
    one, other = int(txns.txn[op]), int(txns.txn[longest])
    key = txns.keys[int(txns.key[op])]
    return Direct(
        "incompatible-order",
        (one, other),
        (op, longest),
        f"{txns.name(one)} read {named_key(key)} = {shown(txns.seen(op))} and {txns.name(other)} read {shown(txns.seen(longest))}: "
        "neither is the beginning of the other",
    )


def _rebuilt(
    orders: Orders,
    replaced: dict[int, list[int]],
    shown_by: Ints,
    agrees: Flags,
    without_unknown: frozenset[int],
    written_by: Writers,
) -> Orders:
    size = np.diff(orders.begin)
    untouched = np.ones(len(size), dtype=np.bool_)
    for key, order in replaced.items():
        size[key], untouched[key] = len(order), False
    begin = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(size)])
    value = np.empty(int(begin[-1]), dtype=np.int64)
    keep = np.flatnonzero(untouched)
    value[spread(begin[keep], size[keep])] = orders.value[spread(orders.begin[keep], size[keep])]
    for key, order in replaced.items():
        value[begin[key] : begin[key + 1]] = order
    keys = np.repeat(np.arange(len(size)), size)
    return Orders(begin, value, written_by.find(keys, value), shown_by, agrees, without_unknown)
