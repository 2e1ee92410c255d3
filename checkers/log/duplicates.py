"""`duplicate`: one sent value at several offsets of a partition."""

from __future__ import annotations

from checkers.findings import Finding
from checkers.log.observations import Observations, Partition, Value
from checkers.log.version_order import offsets_by_value


def duplicates(seen: Observations, partition: Partition, order: dict[int, Value]) -> list[Finding]:
    """More copies in the version order than there were sends of the value that may have happened (a value
    that two operations wrote may stand there twice; rule 8: an `info` send may have happened)."""
    findings: list[Finding] = []
    for value, offsets in offsets_by_value(order).items():
        if len(offsets) == 1:
            continue
        rows = partition.writers.get(value, [])
        possible = sum(partition.writes.outcome[row] != "fail" for row in rows)
        if rows and len(offsets) > max(possible, 1):
            ops = tuple(op for row in rows for op in seen.indices(partition.writes.operation[row]))
            findings.append(
                Finding(
                    name="duplicate",
                    partition=partition.name,
                    ops=ops,
                    value=value,
                    offset=offsets[0],
                    detail={"offsets": offsets},
                )
            )
    return findings
