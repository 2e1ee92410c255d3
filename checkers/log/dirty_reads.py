"""`aborted-read` and `phantom-read`: values that no reader should have been given."""

from __future__ import annotations

from checkers.findings import Finding
from checkers.log.observations import Observations, Partition, Value


def aborted_reads(seen: Observations, partition: Partition) -> list[Finding]:
    """Values of sends that certainly failed, read nevertheless (G1a). Rule 1 (semantics 1c): `fail` is written
    only for rejections before any side effect. Outputs of aborted transactions are `exactly-once`'s."""
    writes = partition.writes
    failed = {
        value: rows[0]
        for value, rows in partition.writers.items()
        if all(writes.outcome[row] == "fail" and not writes.transactional[row] for row in rows)
    }
    findings: list[Finding] = []
    for offset, value, operation in _first_reads(partition):
        row = failed.get(value)
        if row is not None:
            ops = (*seen.indices(writes.operation[row]), *seen.indices(operation))
            findings.append(
                Finding(name="aborted-read", partition=partition.name, ops=ops, value=value, offset=offset)
            )
    return findings


def phantom_reads(seen: Observations, partition: Partition) -> list[Finding]:
    """Values that nobody wrote, or that were read before anybody began to write them.

    Judged only where every writer's values are known: not on partitions that transfers write, whose
    outputs a process that died did not tell (`exactly-once` knows those by what they say).
    """
    writes = partition.writes
    if not writes.value or any(writes.transactional):
        return []
    findings: list[Finding] = []
    for offset, value, operation in _first_reads(partition):
        rows = partition.writers.get(value, [])
        begun = min((seen.index(writes.operation[row]) for row in rows), default=None)
        if begun is None or begun > seen.done(operation):
            ops = seen.indices(operation) if begun is None else (begun, *seen.indices(operation))
            findings.append(
                Finding(
                    name="phantom-read",
                    partition=partition.name,
                    ops=ops,
                    value=value,
                    offset=offset,
                    detail={"early": begun is not None},
                )
            )
    return findings


def _first_reads(partition: Partition) -> list[tuple[int, Value, int]]:
    """Each value's first read: (offset, value, operation)."""
    first: dict[Value, tuple[int, Value, int]] = {}
    reads = partition.reads
    for offset, value, operation in zip(reads.offset, reads.value, reads.operation, strict=True):
        first.setdefault(value, (offset, value, operation))
    return list(first.values())
