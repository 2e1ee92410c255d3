"""`lost-write` and `unseen`: acknowledged records that nobody can read."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from checkers.findings import Finding
from checkers.log.observations import Final, Observations, Partition, Value
from harness.ops import Process

Passage = tuple[int, int, int]
"""A poll's way through a partition: from where its process stood, to its last record, and its operation."""


def lost_and_unseen(seen: Observations) -> list[Finding]:
    """Acknowledged values that are absent.

    Rule 1 (semantics 1c): only an `ok` is an acknowledgement. Rule 2: an `info` transaction is committed once one
    of its outputs is read at read_committed; its other outputs that were acknowledged one by one then count too.
    Rule 7: what retention (at its time, see `removed_too_early`) or DeleteRecords removed is not lost; the log's start, read back with the final read,
    says what that is, and above it nothing may be missing. Rule 6: `unseen` is no loss before the final read has come to the end; below that, a loss is proven
    only where a reader passed the acknowledged offset after the acknowledgement.
    """
    findings: list[Finding] = []
    passages: dict[str, list[Passage]] | None = None
    for partition in seen.partitions.values():
        absent = _absent(seen, partition)
        if partition.final is not None:
            findings += [_judged_by_final(seen, partition, partition.final, row) for row in absent]
        elif absent:
            if passages is None:
                passages = _passages(seen)
            findings += _judged_by_passing(seen, partition, absent, passages.get(partition.name, []))
    return findings


def removed_too_early(seen: Observations, partition: Partition, retention_ms: float) -> list[Finding]:
    """`lost-write`: acknowledged records that retention by time, and nothing else, may remove, and did before their
    time. Each was sent after its operation began, and was gone when somebody was told of the log's new start."""
    if partition.final is None:
        return []
    findings: list[Finding] = []
    for row in _acknowledged(seen, partition):
        offset = partition.writes.offset[row]
        if offset is None or offset >= partition.log_start:
            continue
        sent_at = seen.operations[partition.writes.operation[row]].invoke.time
        told = [
            (done.time, position)
            for position, start in partition.begins
            if start > offset and (done := seen.operations[position].completion) is not None
        ]
        known_at, proof = min(told)
        if known_at - sent_at < retention_ms * 1e6:
            finding = _finding(seen, partition, row, "lost-write", proof)
            removed = {"removed_within_ms": (known_at - sent_at) / 1e6, "retention_ms": retention_ms}
            findings.append(msgspec.structs.replace(finding, detail={**finding.detail, **removed}))
    return findings


def _absent(seen: Observations, partition: Partition) -> list[int]:
    read = partition.final.values.values() if partition.final is not None else partition.reads.value
    present = set(read)
    offsets = partition.writes.offset
    return [
        row
        for row in _acknowledged(seen, partition)
        if partition.writes.value[row] not in present
        and ((offset := offsets[row]) is None or offset >= partition.log_start)
    ]


def acknowledged_count(seen: Observations, partition: Partition) -> int:
    return len(_acknowledged(seen, partition))


def _acknowledged(seen: Observations, partition: Partition) -> list[int]:
    """Rows of writes that must be there; a value that was written more than once counts once."""
    writes = partition.writes
    rows: list[int] = []
    counted: set[Value] = set()
    for row, outcome in enumerate(writes.outcome):
        proven = outcome == "ok" or (
            outcome == "info" and writes.offset[row] is not None and _sibling_was_read(seen, partition, row)
        )
        if proven and writes.value[row] not in counted:
            counted.add(writes.value[row])
            rows.append(row)
    return rows


def _sibling_was_read(seen: Observations, partition: Partition, row: int) -> bool:
    return partition.writes.transactional[row] and partition.writes.operation[row] in seen.proven_transfers


def _judged_by_final(seen: Observations, partition: Partition, final: Final, row: int) -> Finding:
    """Absent from the authoritative log. Above a last stable offset that open transactions hold back it may
    still be hidden; what was acknowledged after the final read had begun may have come too late for it."""
    offset = partition.writes.offset[row]
    hidden = final.hidden and (offset is None or offset >= final.end)
    # Without its offset nobody can tell whether it was removed on purpose.
    removed = offset is None and final.log_start > 0
    late = seen.done(partition.writes.operation[row]) > seen.index(final.operations[0])
    name = "unseen" if hidden or late or removed else "lost-write"
    return _finding(seen, partition, row, name, final.operation_at(seen, offset))


def _finding(seen: Observations, partition: Partition, row: int, name: str, proof: int | None) -> Finding:
    writes = partition.writes
    ops = seen.indices(writes.operation[row])
    if proof is not None:
        ops = (*ops, *seen.indices(proof)[-1:])
    return Finding(
        name=name,
        partition=partition.name,
        ops=ops,
        value=writes.value[row],
        offset=writes.offset[row],
        detail={"final": partition.final is not None},
    )


def _judged_by_passing(
    seen: Observations, partition: Partition, rows: list[int], passages: list[Passage]
) -> list[Finding]:
    """Without a final read: a poll that was invoked after the acknowledgement and passed the acknowledged offset
    must have returned the value. One that was invoked earlier proves nothing where logs can be truncated."""
    offsets = sorted({offset for row in rows if (offset := partition.writes.offset[row]) is not None})
    passed = _last_passing(passages, offsets)
    findings: list[Finding] = []
    for row in rows:
        offset = partition.writes.offset[row]
        poll = None if offset is None else passed.get(offset)
        acknowledged = seen.done(partition.writes.operation[row])
        if poll is not None and seen.index(poll) > acknowledged:
            findings.append(_finding(seen, partition, row, "lost-write", poll))
        else:
            findings.append(_finding(seen, partition, row, "unseen", None))
    return findings


def _last_passing(passages: list[Passage], offsets: list[int]) -> dict[int, int]:
    """For each offset (ascending) the latest poll (operation) whose reading passed it: from where its process
    stood to the last record it returned. Offsets are painted latest poll first, each once."""
    skip = list(range(len(offsets) + 1))
    painted: dict[int, int] = {}

    def unpainted(position: int) -> int:
        while skip[position] != position:
            skip[position] = skip[skip[position]]
            position = skip[position]
        return position

    for low, high, poll in reversed(passages):
        position = unpainted(bisect_left(offsets, low))
        while position < len(offsets) and offsets[position] <= high:
            painted[offsets[position]] = poll
            skip[position] = position + 1
            position = unpainted(position)
    return painted


def _passages(seen: Observations) -> dict[str, list[Passage]]:
    """By partition, in order of invocation."""
    stood: dict[tuple[Process, str], int] = {}
    passages: dict[str, list[Passage]] = {}
    for poll in seen.polls:
        process = seen.operations[poll.operation].process
        for name, start in poll.assigned or ():
            stood[process, name] = start
        first: dict[str, int] = {}
        highest: dict[str, int] = {}
        for name, offset, _ in poll.records:
            first.setdefault(name, stood.get((process, name), offset))
            highest[name] = max(offset, highest.get(name, offset))
            stood[process, name] = offset + 1
        for name, low in first.items():
            passages.setdefault(name, []).append((low, highest[name], poll.operation))
    return passages
