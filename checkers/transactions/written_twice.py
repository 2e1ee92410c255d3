"""Values that were written to a key twice: nobody can say whose a read of it is, so that the key is left out, and said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from checkers.transactions.micro_operations import (
    NEVER,
    WRITE,
    WRITES,
    Flags,
    Ints,
    Model,
    Transactions,
    named_key,
)


def without_doubles(txns: Transactions, model: Model) -> tuple[Transactions, list[str]]:
    """What can be judged, and a line for each key that cannot."""
    write = np.flatnonzero(txns.kind == WRITE)
    key, value = txns.key[write], txns.value[write]
    order = np.lexsort((value, key))
    same = (key[order][1:] == key[order][:-1]) & (value[order][1:] == value[order][:-1])
    if not same.any():
        return txns, []
    # Of each key the pair that stands first among its values.
    _, pairs = np.unique(key[order][1:][same], return_index=True)
    places = np.flatnonzero(same)[pairs]
    told = [_told(txns, model, int(write[order[p]]), int(write[order[p + 1]])) for p in places]
    doubled = np.zeros(len(txns.keys), dtype=np.bool_)
    doubled[key[order][1:][same]] = True
    return _without(txns, doubled), told


def _told(txns: Transactions, model: Model, first: int, second: int) -> str:
    one, other = int(txns.txn[first]), int(txns.txn[second])
    key = named_key(txns.keys[int(txns.key[second])])
    if one == other:
        again = "twice"
    else:
        one, other = sorted((one, other), key=lambda t: _position(txns, t))
        again = f"although {txns.name(one)} did so already"
    verb = {"append": "appends", "w": "writes"}[WRITES[model]]
    return (
        f"{txns.where(_position(txns, other))}: {txns.name(other)} {verb} {txns.plain_value(int(txns.value[second]))!r} "
        f"to {key} {again}: every value of a key must be written once, or nobody can say whose it was; {key} is left out"
    )


def _position(txns: Transactions, txn: int) -> int:
    end = int(txns.completed[txn])
    return int(txns.invoked[txn]) if end == NEVER else end


def _without(txns: Transactions, keys: Flags) -> Transactions:
    kept = ~keys[txns.key]
    before: Ints = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(kept)])
    return replace(
        txns,
        first=before[txns.first],
        count=before[txns.first + txns.count] - before[txns.first],
        txn=txns.txn[kept],
        kind=txns.kind[kept],
        key=txns.key[kept],
        value=txns.value[kept],
        start=txns.start[kept],
        length=txns.length[kept],
    )
