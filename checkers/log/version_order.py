"""The version order of a partition: what stands at which offset, as far as reads agree.

Rule 3 (semantics 1c): offset gaps are legal (control records, aborted data, compaction), so that all reasoning about
order is over the values that were observed, never over contiguous offsets. Acknowledged offsets do not
count: what a deposed leader acknowledged may never have stood in the log.
"""

from __future__ import annotations

from checkers.log.observations import Partition, Value


def version_order(partition: Partition) -> dict[int, Value]:
    """Offset -> value, ascending. The final read where there is one; else all reads, without the offsets at
    which they contradict each other."""
    if partition.final is not None:
        return partition.final.values
    values: dict[int, Value] = {}
    contradicted: set[int] = set()
    reads = partition.reads
    for offset, value in zip(reads.offset, reads.value, strict=True):
        if values.setdefault(offset, value) != value:
            contradicted.add(offset)
    return {offset: values[offset] for offset in sorted(values) if offset not in contradicted}


def offsets_by_value(order: dict[int, Value]) -> dict[Value, list[int]]:
    """Value -> its offsets, ascending."""
    offsets: dict[Value, list[int]] = {}
    for offset, value in order.items():
        offsets.setdefault(value, []).append(offset)
    return offsets


def definitely_failed(partition: Partition, value: Value) -> bool:
    """Somebody wrote it, and every attempt certainly failed."""
    rows = partition.writers.get(value)
    return bool(rows) and all(partition.writes.outcome[row] == "fail" for row in rows or ())
