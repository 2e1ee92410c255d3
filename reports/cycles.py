"""The picture of a dependency cycle: transactions as boxes with the reads and writes that matter, and why each comes
before the next. Anti-dependencies (rw) are dashed: that somebody did *not* see something is what the picture turns on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reports.operations import shorten

MOST_TRANSACTIONS = 8
MOST_LINES = 6
LINE = 18
CHARACTER = 6.9
"""Width of one in the monospace font of 11.5 px."""
PADDING = 12
TITLE = 26
GAP_X, GAP_Y = 150, 86
MARGIN = 34
MEANS = {
    "ww": "is overwritten by",
    "wr": "is read by",
    "rw": "did not see",
    "process": "same client, then",
    "realtime": "ended before",
}


class _Edge(msgspec.Struct):
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    kind: str = ""
    key: Any = None
    why: str = ""


class _Transaction(msgspec.Struct):
    name: str
    operations: list[list[Any]]
    process: int | str | None = None
    outcome: str = "ok"


class _Cycle(msgspec.Struct):
    cycle: list[_Edge]
    transactions: list[_Transaction]


class Line(msgspec.Struct, frozen=True):
    text: str
    y: float
    matters: bool


class Box(msgspec.Struct, frozen=True):
    name: str
    process: str
    x: float
    y: float
    width: float
    height: float
    lines: list[Line]


class Arrow(msgspec.Struct, frozen=True):
    path: str
    kind: str
    label: str
    means: str
    x: float
    y: float
    title: str


class CyclePicture(msgspec.Struct, frozen=True):
    width: float
    height: float
    boxes: list[Box]
    arrows: list[Arrow]
    sentences: list[str]


def cycle_picture(data: Any) -> CyclePicture | None:
    """None where a checker gave no cycle, or one too long to be seen at a glance."""
    if not isinstance(data, Mapping) or not data.get("cycle"):
        return None
    try:
        found = msgspec.convert({k: data.get(k) for k in ("cycle", "transactions")}, _Cycle)
    except msgspec.ValidationError:
        return None
    order = [edge.source for edge in found.cycle]
    by_name = {t.name: t for t in found.transactions}
    if len(order) > MOST_TRANSACTIONS or not all(name in by_name for name in order):
        return None
    keys = {_text(edge.key) for edge in found.cycle if edge.key is not None}
    shown = [_lines(by_name[name], keys) for name in order]
    width = max(_width(by_name[name], lines) for name, lines in zip(order, shown, strict=True))
    height = TITLE + PADDING + LINE * max(len(lines) for lines in shown)
    boxes, total = _placed(order, by_name, shown, width, height)
    arrows = [_arrow(edge, boxes, len(order)) for edge in found.cycle]
    return CyclePicture(*total, list(boxes.values()), arrows, [edge.why for edge in found.cycle])


def _lines(transaction: _Transaction, keys: set[str]) -> list[tuple[str, bool]]:
    """Micro-operations on the keys of the cycle; the others are counted."""
    told = [(_micro(op), len(op) > 1 and _text(op[1]) in keys) for op in transaction.operations]
    matter = [line for line in told if line[1]] or told
    if len(matter) > MOST_LINES:
        matter = matter[: MOST_LINES - 1]
    left = len(told) - len(matter)
    return [*matter, *([(f"and {left} more", False)] if left else [])]


def _micro(op: Sequence[Any]) -> str:
    kind, key = str(op[0]), _text(op[1]) if len(op) > 1 else ""
    value = shorten(_text(op[2]), 30) if len(op) > 2 else ""
    match kind:
        case "r":
            return f"read {key} = {value}"
        case "append":
            return f"append {value} to {key}"
        case "w":
            return f"write {key} = {value}"
    return f"{kind} {key} {value}".strip()


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "[" + " ".join(_text(v) for v in value) + "]"
    return str(value)


def _width(transaction: _Transaction, lines: Sequence[tuple[str, bool]]) -> float:
    title = f"{transaction.name}  process {transaction.process}"
    longest = max([len(text) for text, _ in lines] + [len(title)])
    return 2 * PADDING + CHARACTER * longest


def _placed(
    order: Sequence[str],
    by_name: Mapping[str, _Transaction],
    shown: Sequence[Sequence[tuple[str, bool]]],
    width: float,
    height: float,
) -> tuple[dict[str, Box], tuple[float, float]]:
    """Two side by side; more of them clockwise in two rows, so that edges go round."""
    count = len(order)
    above = count if count <= 2 else (count + 1) // 2
    places: list[tuple[float, int]] = [(at, 0) for at in range(above)]
    below = count - above
    shift = (above - below) / 2
    places += [(above - 1 - at - shift, 1) for at in range(below)]
    boxes: dict[str, Box] = {}
    for name, lines, (column, row) in zip(order, shown, places, strict=True):
        x = MARGIN + column * (width + GAP_X)
        y = MARGIN + row * (height + GAP_Y)
        boxes[name] = Box(
            name=name,
            process="" if by_name[name].process is None else f"process {by_name[name].process}",
            x=x,
            y=y,
            width=width,
            height=height,
            lines=[
                Line(text, y + TITLE + LINE * (at + 0.75), matters)
                for at, (text, matters) in enumerate(lines)
            ],
        )
    rows = 1 if below <= 0 else 2
    size = (
        2 * MARGIN + above * width + (above - 1) * GAP_X,
        2 * MARGIN + rows * height + (rows - 1) * GAP_Y,
    )
    return boxes, size


def _arrow(edge: _Edge, boxes: Mapping[str, Box], count: int) -> Arrow:
    a, b = boxes[edge.source], boxes[edge.target]
    if a is b:
        return _drawn(edge, (a.x + a.width * 0.3, a.y), (a.x + a.width * 0.7, a.y), -40)
    start, end = _border(a, b), _border(b, a)
    if count == 2:
        # Two edges between the same boxes: one bends up, the other down.
        side = -1 if a.x < b.x else 1
        offset = a.height * 0.2 * side
        start, end = (start[0], start[1] + offset), (end[0], end[1] + offset)
        return _drawn(edge, start, end, 44 * side)
    return _drawn(edge, start, end, 0)


def _border(a: Box, b: Box) -> tuple[float, float]:
    """Where the line between the centres leaves box a."""
    ax, ay = a.x + a.width / 2, a.y + a.height / 2
    dx, dy = b.x + b.width / 2 - ax, b.y + b.height / 2 - ay
    scale = min(
        a.width / 2 / abs(dx) if dx else math.inf,
        a.height / 2 / abs(dy) if dy else math.inf,
    )
    return ax + dx * scale, ay + dy * scale


def _drawn(edge: _Edge, start: tuple[float, float], end: tuple[float, float], bend: float) -> Arrow:
    (x1, y1), (x2, y2) = start, end
    middle = ((x1 + x2) / 2, (y1 + y2) / 2 + bend)
    path = f"M{x1:.1f} {y1:.1f} Q{middle[0]:.1f} {middle[1]:.1f} {x2:.1f} {y2:.1f}"
    key = "" if edge.key is None else f" {shorten(_text(edge.key), 12)}"
    return Arrow(
        path=path,
        kind=edge.kind if edge.kind in MEANS else "other",
        label=f"{edge.kind}{key}",
        means=MEANS.get(edge.kind, ""),
        x=middle[0],
        y=middle[1] - bend / 2,
        title=edge.why,
    )
