"""What a run reached: situations and protocol steps, each by how often, in powers of four.

In the manner of the hit-count buckets of AFL (Zalewski): that something happened forty times instead of once is news,
that it happened forty-one times is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.campaign import RunLine

Point = tuple[str, int]


def points(run: RunLine) -> frozenset[Point]:
    found = {(f"anomaly:{finding.name}", 1) for finding in run.anomalies}
    return frozenset(found).union(_counted(run.situations), _counted(run.steps))


def names(reached: Iterable[Point]) -> frozenset[str]:
    return frozenset(name for name, _ in reached)


def _counted(counts: Mapping[str, int]) -> Iterable[Point]:
    """Every bucket up to the count, so that a big count covers the small ones."""
    for name, count in counts.items():
        bucket = 1
        while bucket <= count:
            yield name, bucket
            bucket *= 4
