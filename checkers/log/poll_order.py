"""`poll-skip`, `int-poll-skip` and `nonmonotonic-poll`: consumers that jump forward or backward."""

from __future__ import annotations

from bisect import bisect_left

from checkers.findings import Finding
from checkers.log.observations import Observations, Poll, Value
from checkers.log.version_order import definitely_failed
from harness.ops import Process


def poll_jumps(seen: Observations, orders: dict[str, dict[int, Value]]) -> list[Finding]:
    """Each poll of a process must continue where its process stood in that partition.

    Rule 5 (semantics 1c): a (re)assignment, which the poll tells in `assigned`, sets the position anew, and before
    the first one it is unknown; so a jump across a rebalance is none. Rule 3: what was skipped must be a
    value of the version order, and no aborted one; a gap is legal. A jump forward counts only from a record
    that the version order knows at that offset, for otherwise the log was truncated in between.
    What was skipped below the log's start may have been removed before the consumer came to it, and its
    reset is none of the log's faults (rule 7). Transfers are not judged: they rewind on purpose, and `exactly-once` judges what they skip.
    """
    known = {name: _visible(seen, name, order) for name, order in orders.items()}
    stood: dict[tuple[Process, str], tuple[int, int | None]] = {}
    findings: list[Finding] = []
    for poll in seen.polls:
        process = seen.operations[poll.operation].process
        for name, start in poll.assigned or ():
            stood[process, name] = (start, None)
        findings += _jumps(seen, poll, process, orders, known, stood)
    return findings


def _jumps(
    seen: Observations,
    poll: Poll,
    process: Process,
    orders: dict[str, dict[int, Value]],
    known: dict[str, list[int]],
    stood: dict[tuple[Process, str], tuple[int, int | None]],
) -> list[Finding]:
    """`stood`: the next offset, and the operation that came to it (None: assigned)."""
    findings: list[Finding] = []
    for name, offset, value in poll.records:
        expected, before = stood.get((process, name), (offset, None))
        stood[process, name] = (offset + 1, poll.operation)
        if offset < expected:
            findings.append(
                _finding(seen, "nonmonotonic-poll", poll, name, (offset, value), expected, before)
            )
        elif offset > expected and orders[name].get(offset) == value:
            position = bisect_left(known[name], expected)
            if position < len(known[name]) and known[name][position] < offset:
                skipped = known[name][position]
                finding = _finding(
                    seen,
                    "int-poll-skip" if before == poll.operation else "poll-skip",
                    poll,
                    name,
                    (offset, value),
                    expected,
                    before,
                )
                finding.detail.update(skipped=skipped, skipped_value=orders[name][skipped])
                findings.append(finding)
    return findings


def _visible(seen: Observations, name: str, order: dict[int, Value]) -> list[int]:
    partition = seen.partitions[name]
    return [
        offset
        for offset, value in order.items()
        if offset >= partition.log_start and not definitely_failed(partition, value)
    ]


def _finding(
    seen: Observations,
    kind: str,
    poll: Poll,
    name: str,
    record: tuple[int, Value],
    expected: int,
    before: int | None,
) -> Finding:
    earlier = seen.indices(before)[-1:] if before is not None and before != poll.operation else ()
    return Finding(
        name=kind,
        partition=name,
        ops=(*earlier, *seen.indices(poll.operation)),
        value=record[1],
        offset=record[0],
        detail={"expected": expected},
    )
