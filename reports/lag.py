"""How far behind the log its consumers were, over time: one line for each group, in every run that has one.

The lag of a group at a moment is what had been acknowledged by then and had not been given to it, over all partitions: the
sends' offsets against the furthest record of each partition in `poll` (with a `group`), `consume`, `transfer` and `sink`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from harness.ops import Operation
from reports.faults import Band

POINTS = 400
WIDTH, HEIGHT = 1000, 120
MOST_LINES = 6
NAMES = {"consume": "the group", "transfer": "the pipelines", "sink": "the sink"}


class Line(msgspec.Struct, frozen=True):
    """A step line in the plot's own units; `most` and `last` are records."""

    name: str
    points: str
    most: int
    last: int


class Shade(msgspec.Struct, frozen=True):
    x: float
    width: float


class Lag(msgspec.Struct, frozen=True):
    lines: list[Line]
    shades: list[Shade]
    top: int
    """What the upper edge stands for."""
    seconds: float


def lag(operations: Sequence[Operation], bands: Sequence[Band], end_us: int) -> Lag | None:
    """None where nobody consumed anything that somebody had sent."""
    series = _series(operations)
    if not series or end_us <= 0:
        return None
    top = max(1, max(value for of in series.values() for _, value in of))
    chosen = sorted(series, key=lambda name: -max(v for _, v in series[name]))[:MOST_LINES]
    return Lag(
        lines=[
            Line(
                name, _steps(series[name], end_us, top), max(v for _, v in series[name]), series[name][-1][1]
            )
            for name in sorted(chosen)
        ],
        shades=[_shade(band, end_us) for band in bands],
        top=top,
        seconds=end_us / 1_000_000,
    )


def _series(operations: Sequence[Operation]) -> dict[str, list[tuple[int, int]]]:
    """Consumer -> (microsecond, lag), after every operation that changed something."""
    ends: dict[str, int] = {}
    stands: dict[str, dict[str, int]] = {}
    found: dict[str, list[tuple[int, int]]] = {}
    done = [o for o in operations if o.completion is not None]
    for operation in sorted(done, key=lambda o: o.completion.index if o.completion else 0):
        assert operation.completion is not None
        sent = list(_sent(operation))
        for partition, end in sent:
            ends[partition] = max(ends.get(partition, 0), end)
        who = _consumer(operation)
        if who is not None:
            mine = stands.setdefault(who, {})
            for partition, offset in _given(operation):
                mine[partition] = max(mine.get(partition, 0), offset + 1)
        for name in stands if sent else [who] if who is not None else []:
            behind = sum(max(0, end - stands[name].get(p, 0)) for p, end in ends.items())
            found.setdefault(name, []).append((operation.completion.time // 1_000, behind))
    return {name: of for name, of in found.items() if stands[name] and ends}


def _sent(operation: Operation) -> Iterator[tuple[str, int]]:
    assert operation.completion is not None
    if operation.f != "send" or operation.outcome != "ok":
        return
    extra = operation.completion.extra
    offsets = extra.get("offsets") or [extra.get("offset")]
    for offset in offsets:
        if isinstance(offset, int):
            yield str(operation.invoke.key), offset + 1


def _consumer(operation: Operation) -> str | None:
    assert operation.completion is not None
    group = operation.completion.extra.get("group")
    if operation.f == "poll":
        return None if group is None else f"group {group}"
    return NAMES.get(operation.f)


def _given(operation: Operation) -> Iterator[tuple[str, int]]:
    assert operation.completion is not None
    value: Any = operation.completion.value
    if operation.f == "transfer":
        committed = operation.completion.extra.get("outcome") == "committed"
        value = value.get("inputs") if committed and isinstance(value, dict) else None
    for row in value if isinstance(value, list) else ():
        if isinstance(row, list) and len(row) >= 2 and isinstance(row[1], int):
            yield str(row[0]), row[1]


def _steps(series: Sequence[tuple[int, int]], end_us: int, top: int) -> str:
    """At most `POINTS`: of those that fall together the highest."""
    highest: dict[int, int] = {}
    for time, value in series:
        place = min(POINTS, time * POINTS // end_us)
        highest[place] = max(highest.get(place, 0), value)
    points: list[str] = []
    before: int | None = None
    for place, value in highest.items():
        x, y = place * WIDTH / POINTS, HEIGHT - value * HEIGHT / top
        if before is not None:
            points.append(f"{x:.1f},{HEIGHT - before * HEIGHT / top:.1f}")
        points.append(f"{x:.1f},{y:.1f}")
        before = value
    return " ".join(points)


def _shade(band: Band, end_us: int) -> Shade:
    width = (min(band.end, end_us) - band.start) * WIDTH / end_us
    return Shade(round(band.start * WIDTH / end_us, 1), round(max(1.0, width), 1))
