"""What a transaction did to a key before: its own writes lie over what it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkers.transactions.micro_operations import WRITE, Flags, Ints, Transactions


@dataclass(frozen=True, slots=True)
class OwnWrites:
    """By micro-operation, among those of the same transaction and key: `before` counts the writes before it,
    `previous` is the last micro-operation before it and `previous_write` the last write before it (-1 for none),
    `final` says that no write follows."""

    before: Ints
    previous: Ints
    previous_write: Ints
    final: Flags


def own_writes(txns: Transactions) -> OwnWrites:
    m = len(txns.kind)
    if not m:
        nothing = np.zeros(0, dtype=np.int64)
        return OwnWrites(nothing, nothing, nothing, np.zeros(0, dtype=np.bool_))
    group = txns.txn * max(1, len(txns.keys)) + txns.key
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    head = np.ones(m, dtype=np.bool_)
    head[1:] = ordered[1:] != ordered[:-1]
    begins = np.maximum.accumulate(np.where(head, np.arange(m), 0))
    write = (txns.kind[order] == WRITE).astype(np.int64)
    earlier = np.cumsum(write) - write
    before = earlier - earlier[begins]
    previous = np.full(m, -1, dtype=np.int64)
    previous[1:] = np.where(head[1:], -1, order[:-1])
    last_write = np.maximum.accumulate(np.where(write == 1, np.arange(m), -1))
    last_before = np.concatenate([np.array([-1]), last_write[:-1]])
    previous_write = np.where(last_before >= begins, order[last_before], -1)
    ends = np.concatenate([np.flatnonzero(head)[1:] - 1, np.array([m - 1])])
    group_number = np.cumsum(head) - 1
    writes_in_group = (earlier + write)[ends] - earlier[np.flatnonzero(head)]
    final = before + write == writes_in_group[group_number]
    found = OwnWrites(
        np.empty_like(before), np.empty_like(before), np.empty_like(before), np.empty(m, np.bool_)
    )
    found.before[order] = before
    found.previous[order] = previous
    found.previous_write[order] = previous_write
    found.final[order] = final
    return found
