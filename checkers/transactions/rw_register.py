"""Model `rw-register`: a read shows one value, so the order of versions must be inferred.

Sources of order, each per key: the initial state (null) comes before every write; a transaction that read one
version and then wrote another put its own after it. By choice, for systems that promise it of single keys:
`linearizable` (real time), `sequential` (each process sees versions in order), `wfr` (what a process writes
comes after what it had read in earlier transactions).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from checkers.transactions.components import cyclic
from checkers.transactions.direct import Direct, Directs, Inference
from checkers.transactions.graph import RW, WR, WW, Graph, edges, union
from checkers.transactions.list_orders import spread
from checkers.transactions.micro_operations import (
    FAIL,
    INFO,
    NIL,
    OK,
    READ,
    WRITE,
    Flags,
    Ints,
    Transactions,
    named_key,
)
from checkers.transactions.own_writes import OwnWrites, own_writes
from checkers.transactions.register_orders import process_versions, realtime_versions
from checkers.transactions.versions import writers

MOST_FIRST = 64
"""Of the versions of one key that may be its first, as many are taken as successors of its initial state."""


@dataclass(frozen=True, slots=True)
class KeyOrders:
    """What else is promised of every single key."""

    linearizable: bool = False
    sequential: bool = False
    wfr: bool = False


@dataclass(frozen=True, slots=True)
class Reads:
    """Reads of what others wrote: the micro-operation, and the version: the write that was read, or for the initial
    state of key `k` the number of micro-operations plus `k`. Versions nobody may build on are -1."""

    op: Ints
    version: Ints


def infer(txns: Transactions, keys: KeyOrders) -> Inference:
    """Raises `WrittenTwice` where a value is written to a key twice."""
    directs = Directs()
    written_by = writers(txns, "writes")
    own = own_writes(txns)
    op = external_reads(txns, own, directs)
    nil = txns.value[op] == NIL
    write = written_by.find(txns.key[op], txns.value[op])
    found = write >= 0
    outcome = np.where(found, txns.outcome[txns.txn[np.maximum(write, 0)]], OK)
    _tell(txns, directs, "garbage-read", op[~found & ~nil], write[~found & ~nil], "which nobody wrote")
    dirty = found & (outcome == FAIL)
    _tell(txns, directs, "G1a", op[dirty], write[dirty], "whose transaction failed")
    halfway = (
        found & ~dirty & ~own.final[np.maximum(write, 0)] & (txns.txn[np.maximum(write, 0)] != txns.txn[op])
    )
    _tell(txns, directs, "G1b", op[halfway], write[halfway], "which its writer overwrote itself")
    ahead = found & (txns.txn[np.maximum(write, 0)] == txns.txn[op])
    _tell(txns, directs, "internal", op[ahead], write[ahead], "which it wrote only later")
    committed = txns.outcome == OK
    proven = txns.txn[write[found & (outcome == INFO)]]
    committed[proven] = True
    version = np.where(nil, len(txns.kind) + txns.key[op], np.where(found & ~dirty, write, -1))
    known = version >= 0
    reads = Reads(op[known], version[known])
    lost_updates(txns, own, reads, directs)
    before, after = version_edges(txns, own, reads, committed, keys)
    before, after = without_cycles(txns, before, after, directs)
    graph = dependencies(txns, own, reads, committed, before, after)
    final = (txns.kind == WRITE) & own.final & committed[txns.txn]
    ordered = np.zeros(len(final), dtype=np.bool_)
    ordered[after] = True
    return Inference(committed, graph, directs, int((final & ~ordered).sum()))


def external_reads(txns: Transactions, own: OwnWrites, directs: Directs) -> Ints:
    """Reads before the transaction's own first write of the key. `internal`: another value than it had read or
    written last."""
    op = np.flatnonzero((txns.kind == READ) & (txns.outcome[txns.txn] == OK))
    previous = own.previous[op]
    wrong = op[(previous >= 0) & (txns.value[previous] != txns.value[op])]

    def told() -> Iterator[Direct]:
        for bad in wrong.tolist():
            txn, earlier = int(txns.txn[bad]), int(own.previous[bad])
            did = "written" if txns.kind[earlier] == WRITE else "read"
            yield Direct(
                "internal",
                (txn,),
                (bad, earlier),
                f"{txns.name(txn)} read {_named(txns, bad)} right after it had {did} "
                f"{txns.plain_value(int(txns.value[earlier]))!r}",
            )

    directs.add("internal", len(wrong), told())
    external: Ints = op[own.before[op] == 0]
    return external


def _named(txns: Transactions, op: int) -> str:
    return f"{named_key(txns.keys[int(txns.key[op])])} = {txns.plain_value(int(txns.value[op]))!r}"


def _tell(txns: Transactions, directs: Directs, name: str, ops: Ints, writes: Ints, why: str) -> None:
    def told() -> Iterator[Direct]:
        for op, write in zip(ops.tolist(), writes.tolist(), strict=True):
            reader = int(txns.txn[op])
            by = () if write < 0 else (int(txns.txn[write]),)
            of = f" of {txns.name(by[0])}" if by else ""
            yield Direct(
                name,
                (reader, *by),
                (op, *(() if write < 0 else (write,))),
                f"{txns.name(reader)} read {_named(txns, op)}{of}, {why}",
            )

    directs.add(name, len(ops), told())


def lost_updates(txns: Transactions, own: OwnWrites, reads: Reads, directs: Directs) -> None:
    """Two committed transactions read the same version of a key and then wrote the key."""
    writes = np.flatnonzero((txns.kind == WRITE) & (txns.outcome[txns.txn] == OK) & own.final)
    width = max(1, len(txns.keys))
    updated = np.unique(txns.txn[writes] * width + txns.key[writes])
    both = np.isin(txns.txn[reads.op] * width + txns.key[reads.op], updated)
    op, version = reads.op[both], reads.version[both]
    order = np.lexsort((txns.txn[op], version))
    op, version = op[order], version[order]
    pair = np.flatnonzero((version[1:] == version[:-1]) & (txns.txn[op[1:]] != txns.txn[op[:-1]]))

    def told() -> Iterator[Direct]:
        for at in pair.tolist():
            first, second = int(op[at]), int(op[at + 1])
            a, b = int(txns.txn[first]), int(txns.txn[second])
            yield Direct(
                "lost-update",
                (a, b),
                (first, second),
                f"{txns.name(a)} and {txns.name(b)} both read {_named(txns, first)} and both wrote "
                "the key: one of them did not see the other",
            )

    directs.add("lost-update", len(pair), told())


def version_edges(
    txns: Transactions, own: OwnWrites, reads: Reads, committed: Flags, keys: KeyOrders
) -> tuple[Ints, Ints]:
    """Pairs of versions (earlier, later) of one key. Only the last write of a transaction to a key is a version."""
    final = np.flatnonzero((txns.kind == WRITE) & own.final & committed[txns.txn])
    settled = (reads.version >= len(txns.kind)) | own.final[np.minimum(reads.version, len(txns.kind) - 1)]
    op, version = reads.op[settled], reads.version[settled]
    width = max(1, len(txns.keys))
    wrote = txns.txn[final] * width + txns.key[final]
    order = np.argsort(wrote, kind="stable")
    final, wrote = final[order], wrote[order]
    pairs: list[tuple[Ints, Ints]] = []
    if len(final):
        asked = txns.txn[op] * width + txns.key[op]
        place = np.minimum(np.searchsorted(wrote, asked), len(wrote) - 1)
        also = wrote[place] == asked
        pairs.append((version[also], final[place[also]]))
    if keys.sequential or keys.wfr:
        pairs.append(process_versions(txns, committed, op, version, final, wfr_only=not keys.sequential))
    if keys.linearizable:
        pairs.append(realtime_versions(txns, committed, op, version, final))
    before = np.concatenate([p[0] for p in pairs] or [np.zeros(0, dtype=np.int64)])
    after = np.concatenate([p[1] for p in pairs] or [np.zeros(0, dtype=np.int64)])
    first = final[~np.isin(final, after[before < len(txns.kind)])]
    first = first[np.argsort(txns.key[first], kind="stable")]
    place = np.arange(len(first)) - np.searchsorted(txns.key[first], txns.key[first], side="left")
    first = first[place < MOST_FIRST]
    before = np.concatenate([before, len(txns.kind) + txns.key[first]])
    after = np.concatenate([after, first])
    real = before != after
    once = np.unique(np.stack([before[real], after[real]]), axis=1)
    return once[0], once[1]


def without_cycles(txns: Transactions, before: Ints, after: Ints, directs: Directs) -> tuple[Ints, Ints]:
    """`cyclic-versions`: the order of a key contradicts itself, and nothing more is inferred from that key."""
    m = len(txns.kind)
    labels = cyclic(m + len(txns.keys), before, after)
    if (labels < 0).all():
        return before, after
    key = np.where(before < m, txns.key[np.minimum(before, m - 1)], before - m)
    bad = np.unique(key[(labels[before] >= 0) & (labels[before] == labels[after])])

    def told() -> Iterator[Direct]:
        for k in bad.tolist():
            inside = np.flatnonzero((key == k) & (labels[before] >= 0) & (labels[before] == labels[after]))[
                :6
            ]
            versions = sorted({int(v) for row in inside for v in (before[row], after[row])})
            values = [None if v >= m else txns.plain_value(int(txns.value[v])) for v in versions]
            writes = [v for v in versions if v < m]
            yield Direct(
                "cyclic-versions",
                tuple(sorted({int(txns.txn[v]) for v in writes})),
                tuple(writes),
                f"of the values {values!r} of {named_key(txns.keys[k])} each comes before the next, and round again",
            )

    directs.add("cyclic-versions", len(bad), told())
    kept = ~np.isin(key, bad)
    return before[kept], after[kept]


def dependencies(
    txns: Transactions, own: OwnWrites, reads: Reads, committed: Flags, before: Ints, after: Ints
) -> Graph:
    """ww along the order of versions, wr from the version read, rw from it to those that come after it."""
    n, m = len(txns), len(txns.kind)
    written = before < m
    seen = reads.version < m
    parts = [
        edges(WW, n, txns.txn[before[written]], txns.txn[after[written]], before[written], after[written]),
        edges(
            WR,
            n,
            txns.txn[reads.version[seen]],
            txns.txn[reads.op[seen]],
            reads.version[seen],
            reads.op[seen],
        ),
    ]
    order = np.argsort(before, kind="stable")
    before, after = before[order], after[order]
    begin = np.searchsorted(before, reads.version, side="left")
    many = np.searchsorted(before, reads.version, side="right") - begin
    reader = np.repeat(reads.op, many)
    over = after[spread(begin, many)]
    parts.append(edges(RW, n, txns.txn[reader], txns.txn[over], reader, over))
    return union(n, parts)
