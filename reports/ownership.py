"""When partitions of a consumer group had no owner, as the page shows it: a strip a partition, over the time of the run.

Eager rebalances take everything from everybody, and all strips are marked at once; cooperative ones only what moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

US_PER_MS = 1_000
WIDTH = 1_000
MOST_ROWS = 40


class Mark(msgspec.Struct, frozen=True):
    x: float
    width: float


class Strip(msgspec.Struct, frozen=True):
    name: str
    marks: list[Mark]
    share: float
    """Percent of the time."""
    longest_ms: float
    times: int


class Ownership(msgspec.Struct, frozen=True):
    strips: list[Strip]
    seconds: float
    more: int
    """Partitions that are not shown."""


def ownership(results: Sequence[Mapping[str, Any]], end_us: int) -> Ownership | None:
    """From the measures of checker `group`; None where a run has none, or none that can be read."""
    measures = next((r.get("measures") for r in results if r.get("checker") == "group"), None)
    if not isinstance(measures, Mapping) or end_us <= 0:
        return None
    sums, pauses = measures.get("without_an_owner"), measures.get("pauses_without_an_owner")
    if not isinstance(sums, Mapping) or not isinstance(pauses, Mapping) or not sums:
        return None
    try:
        strips = [_strip(str(name), of, pauses.get(name) or (), end_us) for name, of in sums.items()]
    except (TypeError, ValueError, KeyError):
        return None
    return Ownership(strips[:MOST_ROWS], end_us / 1_000_000, max(0, len(strips) - MOST_ROWS))


def _strip(name: str, of: Mapping[str, Any], pauses: Sequence[Sequence[float]], end_us: int) -> Strip:
    scale = WIDTH * US_PER_MS / end_us
    return Strip(
        name,
        [Mark(round(begin * scale, 1), round(max(1.0, (end - begin) * scale), 1)) for begin, end in pauses],
        round(100 * float(of["share"]), 1),
        float(of["longest_ms"]),
        int(of["times"]),
    )
