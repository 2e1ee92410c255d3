"""Orders of one register's versions that a system may promise of every key: by process, or by real time."""

from __future__ import annotations

import numpy as np

from checkers.transactions.micro_operations import NEVER, Flags, Ints, Transactions


def _accesses(
    txns: Transactions, committed: Flags, op: Ints, version: Ints, final: Ints
) -> list[tuple[int, int, int, bool]]:
    """`(txn, key, version, whether it was written)`; of one transaction its reads first."""
    rows = [
        (int(txns.txn[o]), int(txns.key[o]), int(v), False)
        for o, v in zip(op.tolist(), version.tolist(), strict=True)
        if committed[txns.txn[o]]
    ]
    rows += [(int(txns.txn[w]), int(txns.key[w]), int(w), True) for w in final.tolist()]
    return sorted(rows, key=lambda row: (row[0], row[3]))


def process_versions(
    txns: Transactions, committed: Flags, op: Ints, version: Ints, final: Ints, *, wfr_only: bool
) -> tuple[Ints, Ints]:
    """What a process met last in an earlier transaction comes before what it meets next of the key; with `wfr_only`,
    what it read before what it writes."""
    last: dict[tuple[int, int], int] = {}
    pairs: list[tuple[int, int]] = []
    for txn, key, met, wrote in _accesses(txns, committed, op, version, final):
        place = (int(txns.process[txn]), key)
        if place in last and last[place] != met and (wrote or not wfr_only):
            pairs.append((last[place], met))
        if not wfr_only or not wrote:
            last[place] = met
    return _columns(pairs)


def realtime_versions(
    txns: Transactions, committed: Flags, op: Ints, version: Ints, final: Ints
) -> tuple[Ints, Ints]:
    """What was met before something else began comes before what is met then, key by key. The frontier holds the
    transactions that ended and that none that ended has followed."""
    by_key: dict[int, dict[int, tuple[int, int]]] = {}
    for txn, key, met, _ in _accesses(txns, committed, op, version, final):
        first, _ = by_key.setdefault(key, {}).get(txn, (met, met))
        by_key[key][txn] = (first, met)
    pairs: list[tuple[int, int]] = []
    for met_by in by_key.values():
        ends = sorted((int(txns.completed[t]), t) for t in met_by if txns.completed[t] != NEVER)
        frontier: list[int] = []
        passed = 0
        for txn in sorted(met_by):
            began = int(txns.invoked[txn])
            while passed < len(ends) and ends[passed][0] < began:
                ended = ends[passed][1]
                frontier = [t for t in frontier if txns.completed[t] >= txns.invoked[ended]] + [ended]
                passed += 1
            pairs += [(met_by[t][1], met_by[txn][0]) for t in frontier if met_by[t][1] != met_by[txn][0]]
    return _columns(pairs)


def _columns(pairs: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]
