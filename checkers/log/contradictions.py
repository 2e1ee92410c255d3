"""`inconsistent-offsets` and `vanished-read`: an offset that did not keep its value."""

from __future__ import annotations

from checkers.findings import Finding
from checkers.log.observations import Observations, Partition, Value
from checkers.log.version_order import definitely_failed


def inconsistent_offsets(seen: Observations, partition: Partition) -> list[Finding]:
    """Offsets at which acknowledgements and reads saw more than one value: one finding an offset."""
    first: dict[int, tuple[Value, int]] = {}
    others: dict[int, dict[Value, int]] = {}

    def saw(offset: int, value: Value, operation: int) -> None:
        known = first.setdefault(offset, (value, operation))
        if known[0] != value:
            others.setdefault(offset, {known[0]: known[1]}).setdefault(value, operation)

    writes, reads = partition.writes, partition.reads
    for row, offset in enumerate(writes.offset):
        if offset is not None:
            saw(offset, writes.value[row], writes.operation[row])
    for offset, value, operation in zip(reads.offset, reads.value, reads.operation, strict=True):
        saw(offset, value, operation)
    return [
        Finding(
            name="inconsistent-offsets",
            partition=partition.name,
            ops=tuple(sorted(op for operation in values.values() for op in seen.indices(operation))),
            value=next(iter(values)),
            offset=offset,
            detail={"values": list(values)},
        )
        for offset, values in sorted(others.items())
    ]


def vanished_reads(seen: Observations, partition: Partition) -> list[Finding]:
    """Values that were read and are not in the final log at that offset. Covers records that nobody
    acknowledged: what a consumer was given must stay.

    A definitely failed write that was read anyway (`aborted-read`) is rightly absent. A read that ended
    after the final read had begun proves nothing by an absence beyond its end. What lies below the log's
    start was removed on purpose (rule 7, semantics 1c).
    """
    final = partition.final
    if final is None:
        return []
    began = seen.index(final.operations[0])
    findings: list[Finding] = []
    found: set[tuple[int, Value]] = set()
    reads = partition.reads
    for offset, value, operation in zip(reads.offset, reads.value, reads.operation, strict=True):
        if final.values.get(offset) == value or (offset, value) in found or seen.done(operation) > began:
            continue
        if offset < final.log_start:
            continue
        if definitely_failed(partition, value):
            continue
        found.add((offset, value))
        rows = partition.writers.get(value, [])
        written = seen.indices(partition.writes.operation[rows[0]]) if rows else ()
        findings.append(
            Finding(
                name="vanished-read",
                partition=partition.name,
                ops=(
                    *written,
                    *seen.indices(operation),
                    *seen.indices(final.operation_at(seen, offset))[-1:],
                ),
                value=value,
                offset=offset,
                detail={
                    "instead": final.values.get(offset),
                    "end": final.end,
                    "read": seen.indices(operation)[-1],
                },
            )
        )
    return findings
