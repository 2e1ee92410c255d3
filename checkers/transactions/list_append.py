"""Model `list-append`: a read shows the whole list, so it shows the order of all versions before it.

The order of a key is its longest read; every other read must be a prefix of it. Values of transactions that
certainly failed are left out before reads are compared: a dirty read is one anomaly, not two. What a
transaction appended itself lies over the list that it read and says nothing of the order of others.
"""

from __future__ import annotations

import numpy as np

from checkers.transactions.direct import Directs, Inference
from checkers.transactions.disagreement import resolve
from checkers.transactions.graph import RW, WR, WW, Graph, edges, union
from checkers.transactions.list_anomalies import (
    aborted_reads,
    dirty_updates,
    intermediate_reads,
    lost_updates,
    reads_ahead,
    repeated_and_garbage,
)
from checkers.transactions.list_orders import (
    Chain,
    Reads,
    external_reads,
    spread,
    usable_versions,
    version_orders,
)
from checkers.transactions.micro_operations import INFO, OK, WRITE, Ints, Transactions
from checkers.transactions.own_writes import own_writes
from checkers.transactions.versions import writers

MOST_UNREAD = 16
"""Of the appends of one key that nobody read, as many are taken as successors of its longest read."""


def infer(txns: Transactions) -> Inference:
    """Raises `WrittenTwice` where a value is appended to a key twice."""
    directs = Directs()
    written_by = writers(txns, "appends")
    own = own_writes(txns)
    reads = external_reads(txns, own, directs)
    orders = version_orders(txns, reads, written_by)
    if not orders.agrees.all():
        reads, orders = resolve(txns, reads, orders, written_by, directs)
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
