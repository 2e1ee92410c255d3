"""`nonmonotonic-send` and `int-nonmonotonic-send`: a producer's records in another order than it sent them."""

from __future__ import annotations

from checkers.findings import Finding
from checkers.log.observations import Observations, Partition, Value
from harness.ops import Process


def nonmonotonic_sends(seen: Observations, partition: Partition, order: dict[int, Value]) -> list[Finding]:
    """Sends of one process follow one another, so that their offsets must rise: across operations
    (`nonmonotonic-send`) and, in the order in which one operation handed them over, inside (`int-`).

    Rule 3 (semantics 1c): by the version order only. A value that stands at several offsets counts where it
    first stands, for a late copy is a `duplicate` and no other order. Gaps (`int-send-skip`) are legal (rule 4),
    and the records of a transaction are handed over together, so that inside one no order is promised.
    """
    writes = partition.writes
    at: dict[Value, int] = {}
    for place, value in order.items():
        at.setdefault(value, place)
    highest: dict[Process, tuple[int, int]] = {}  # process -> (offset, row) of all its operations before
    findings: list[Finding] = []
    row, count = 0, len(writes.value)
    while row < count:
        operation, after = writes.operation[row], row
        process = seen.operations[operation].process
        before, inside = highest.get(process), None
        while after < count and writes.operation[after] == operation:
            offset = at.get(writes.value[after])
            if offset is not None and writes.outcome[after] != "fail":
                if before is not None and offset < before[0]:
                    findings.append(_finding(seen, partition, "nonmonotonic-send", before, (offset, after)))
                if inside is not None and offset < inside[0] and not writes.transactional[after]:
                    findings.append(
                        _finding(seen, partition, "int-nonmonotonic-send", inside, (offset, after))
                    )
                if inside is None or offset > inside[0]:
                    inside = (offset, after)
            after += 1
        if inside is not None and (before is None or inside[0] > before[0]):
            highest[process] = inside
        row = after
    return findings


def _finding(
    seen: Observations, partition: Partition, name: str, first: tuple[int, int], second: tuple[int, int]
) -> Finding:
    writes = partition.writes
    operations = dict.fromkeys((writes.operation[first[1]], writes.operation[second[1]]))
    return Finding(
        name=name,
        partition=partition.name,
        ops=tuple(op for operation in operations for op in seen.indices(operation)),
        value=writes.value[second[1]],
        offset=second[0],
        detail={"before": writes.value[first[1]], "before_offset": first[0]},
    )
