"""A space-time diagram of a story: a lifeline for each node and client process, time running down.

Rows are evenly spaced and carry the story's numbers, because what matters may take a millisecond or half a
minute. Pure layout; `templates/space_time.svg.j2` draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.ops import Operation
from reports.faults import Band

if TYPE_CHECKING:
    from reports.witness import Step

COLUMN, ROW, LEFT, TOP = 84, 32, 78, 34
MOST_LINES = 9


class Lifeline(msgspec.Struct, frozen=True):
    x: float
    name: str
    client: bool


class Bar(msgspec.Struct, frozen=True):
    """An operation on its process (`kind` ok, fail, info) or a fault on its node (`kind` fault)."""

    x: float
    y: float
    height: float
    kind: str
    title: str


class Dot(msgspec.Struct, frozen=True):
    x: float
    y: float
    number: int
    title: str


class Row(msgspec.Struct, frozen=True):
    y: float
    time: int


class Arrow(msgspec.Struct, frozen=True):
    x1: float
    x2: float
    y: float


class Diagram(msgspec.Struct, frozen=True):
    width: float
    height: float
    lines: list[Lifeline]
    bars: list[Bar]
    arrows: list[Arrow]
    dots: list[Dot]
    rows: list[Row]


def diagram(story: Sequence[Step], proving: Sequence[Operation], active: Sequence[Band]) -> Diagram | None:
    """None where there is nothing to set against each other."""
    processes = list(dict.fromkeys(s.process for s in story if s.process is not None))
    nodes = sorted(
        {n for s in story for n in s.nodes} | {t for b in active for t in b.targets if len(b.targets) <= 3}
    )
    names = [(p, True) for p in processes] + [(n, False) for n in nodes]
    names = names[:MOST_LINES]
    if len(story) < 2 or len(names) < 2:
        return None
    place = {name: LEFT + COLUMN * (i + 0.5) for i, name in enumerate(names)}
    times = [s.time for s in story]
    dots: list[Dot] = []
    arrows: list[Arrow] = []
    for row, step in enumerate(story):
        y = TOP + ROW * (row + 0.5)
        client = place.get((step.process or "", True))
        node = place.get((step.node or "", False))
        if client is not None and node is not None:
            arrows.append(Arrow(node, client, y) if step.arrives else Arrow(client, node, y))
        at = [client] if client is not None else [place.get((n, False)) for n in step.nodes]
        dots += [Dot(x, y, step.number, step.text) for x in at if x is not None]
    return Diagram(
        width=LEFT + COLUMN * len(names) + 8,
        height=TOP + ROW * len(story) + 10,
        lines=[Lifeline(place[name], name[0], name[1]) for name in names],
        bars=[*_faults(active, place, times), *_operations(proving, place, times)],
        arrows=arrows,
        dots=dots,
        rows=[Row(TOP + ROW * (row + 0.5), step.time) for row, step in enumerate(story)],
    )


def height_at(time: int, times: Sequence[int]) -> float:
    """Where a time lies between the evenly spaced rows."""
    if time <= times[0]:
        return TOP if time < times[0] else TOP + ROW * 0.5
    for row in range(1, len(times)):
        if time <= times[row]:
            before, after = times[row - 1], times[row]
            share = (time - before) / (after - before) if after > before else 1.0
            return TOP + ROW * (row - 0.5 + share)
    return TOP + ROW * len(times)


def _operations(
    proving: Sequence[Operation], place: dict[tuple[str, bool], float], times: Sequence[int]
) -> list[Bar]:
    bars: list[Bar] = []
    for operation in proving:
        x = place.get((str(operation.process), True))
        if x is None:
            continue
        start = height_at(operation.start // 1_000, times)
        done = operation.completion
        end = height_at(done.time // 1_000, times) if done is not None else TOP + ROW * len(times)
        title = f"{operation.f} of process {operation.process}: {operation.outcome}"
        bars.append(Bar(x, start, max(6.0, end - start), operation.outcome, title))
    return bars


def _faults(active: Sequence[Band], place: dict[tuple[str, bool], float], times: Sequence[int]) -> list[Bar]:
    bars: list[Bar] = []
    for band in active:
        for target in band.targets:
            x = place.get((target, False))
            start, end = height_at(band.start, times), height_at(band.end, times)
            if x is not None and end > start:
                bars.append(Bar(x, start, max(6.0, end - start), "fault", band.label))
    return bars
