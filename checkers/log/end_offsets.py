"""`nonmonotonic-end-offset` and `lso-stuck`: what partitions say of their end."""

from __future__ import annotations

from checkers.findings import Finding
from checkers.log.observations import Observations, Partition

NS_PER_MS = 1_000_000
SLACK_MS = 5_000
"""What a coordinator may take, beyond the time-out, to end an abandoned transaction."""


def nonmonotonic_ends(seen: Observations, partition: Partition) -> list[Finding]:
    """After the heal, an end offset below one that was answered before the question was asked: every answer
    ever given is a lower bound of the committed log's end.

    During faults a deposed leader answers with what it knows, which may be less than another client was
    told; that is stale, not wrong (an answer carries no leader epoch by which to tell). So
    only answers of the final phase are held against all earlier ones.
    """
    bounds = [(seen.done(operation), end, operation) for operation, end, _ in partition.ends]
    bounds.sort(key=lambda bound: bound[0])
    asked = sorted(
        (seen.index(operation), end, operation) for operation, end, final in partition.ends if final
    )
    findings: list[Finding] = []
    highest: tuple[int, int] | None = None
    position = 0
    for index, end, operation in asked:
        while position < len(bounds) and bounds[position][0] < index:
            if highest is None or bounds[position][1] > highest[0]:
                highest = (bounds[position][1], bounds[position][2])
            position += 1
        if highest is not None and end < highest[0]:
            findings.append(
                Finding(
                    name="nonmonotonic-end-offset",
                    partition=partition.name,
                    ops=(*seen.indices(highest[1])[-1:], *seen.indices(operation)),
                    offset=end,
                    detail={"before": highest[0]},
                )
            )
            break
    return findings


def lso_stuck(seen: Observations, partition: Partition, transaction_timeout_ms: float) -> list[Finding]:
    """The last stable offset is still below the high watermark although, since the last fault ended,
    every open transaction has had the time to be timed out."""
    final = partition.final
    if final is None or not final.hidden:
        return []
    last = seen.operations[final.operations[-1]]
    quiet_since = seen.history.faults[-1].time if seen.history.faults else 0
    if last.start - quiet_since < (transaction_timeout_ms + SLACK_MS) * NS_PER_MS:
        return []
    return [
        Finding(
            name="lso-stuck",
            partition=partition.name,
            ops=seen.indices(final.operations[-1]),
            offset=final.end,
            detail={"high_watermark": final.high_watermark},
        )
    ]
