"""Which segments retention removes (semantics 2.6): whole ones from the beginning on, by age or by size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from systems.broker.log.segment import Segment

UNLIMITED = -1


class RetentionLimits(NamedTuple):
    """Kafka's `retention.ms` and `retention.bytes`; -1 keeps everything."""

    milliseconds: int
    bytes: int

    @property
    def unlimited(self) -> bool:
        return self.milliseconds < 0 and self.bytes < 0


class Doomed(NamedTuple):
    """Where the log begins afterwards, and why: `time` or `size`."""

    start_offset: int
    reason: str


def doomed(
    segments: Sequence[Segment], limits: RetentionLimits, now_ms: int, end_offset: int
) -> Doomed | None:
    """How far the log's beginning goes; None where everything stays. Nothing at or above `end_offset` goes,
    the smaller of high watermark and last stable offset: neither uncommitted records nor open transactions.

    By size the log never falls below its limit. A segment's age is its largest timestamp's, which with
    `CreateTime` is what a producer's clock said.
    """
    start, reason = -1, ""
    excess = sum(s.size for s in segments) - limits.bytes if limits.bytes >= 0 else -1
    for segment in segments:
        if not segment.size or segment.end_offset > end_offset:
            break
        too_old = limits.milliseconds >= 0 and now_ms - segment.max_timestamp > limits.milliseconds
        too_much = excess - segment.size >= 0
        if not too_old and not too_much:
            break
        excess -= segment.size
        start, reason = segment.end_offset, "time" if too_old else "size"
    return None if start < 0 else Doomed(start, reason)
