"""Orders of time: what had ended before something else began.

The interval order of n transactions has up to n * n edges, its transitive reduction still n times the
concurrency. A chain of one node an end carries the same order with three edges a transaction: a transaction
leads to the node of its end, each such node to the next, and the last one before a beginning to what began.
"""

from __future__ import annotations

import numpy as np

from checkers.transactions.micro_operations import NEVER, Flags, Ints


def realtime_chain(invoked: Ints, completed: Ints) -> tuple[Ints, Ints, Ints]:
    """`(ended, before, began)`: the transactions in order of their end, whose places are the nodes of the chain;
    and for each of `began` the place of the last end before it."""
    ended = np.flatnonzero(completed != NEVER)
    ended = ended[np.argsort(completed[ended], kind="stable")]
    before = np.searchsorted(completed[ended], invoked, side="left") - 1
    began = np.flatnonzero(before >= 0)
    return ended, before[began], began


def with_realtime(
    nodes: int, source: Ints, target: Ints, invoked: Ints, completed: Ints
) -> tuple[int, Ints, Ints]:
    """A graph whose first nodes are the transactions, with the chain added behind its last node."""
    ended, before, began = realtime_chain(invoked, completed)
    chain = nodes + np.arange(len(ended), dtype=np.int64)
    return (
        nodes + len(ended),
        np.concatenate([source, ended, chain[:-1], chain[before]]),
        np.concatenate([target, chain, chain[1:], began]),
    )


def process_order(process: Ints, chosen: Flags) -> tuple[Ints, Ints]:
    """Each chosen transaction of a process before its next chosen one; transactions are in order of invocation."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(process[rows], kind="stable")]
    same = process[rows[1:]] == process[rows[:-1]]
    return rows[:-1][same], rows[1:][same]
