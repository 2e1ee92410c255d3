"""Faults as bands on the time axis: what was asked for, whom it hit, and whether it is known to have bitten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from harness.ops import Op
from harness.schedule import KINDS, UNDO
from reports.operations import shorten

ARMED = "crash-at"
"""Waits for a node to reach a step; the crash that follows is a fault of its own, of the same position."""
_UNDOING = frozenset(UNDO.values())


class Band(msgspec.Struct):
    """Times are microseconds since the run began. `targets` is empty where nobody was it."""

    fault: int
    kind: str
    selector: str
    start: int
    end: int
    targets: list[str]
    links: list[list[str]]
    label: str
    verified: bool | None = None
    detail: str = ""
    outcome: str = "ok"
    """`ok`, `fail` (had no target), `info` (raised), or `open` where the history ends first."""
    row: int = 0
    events: list[int] = msgspec.field(default_factory=list)
    """History indices of its four events: fault and undoing, each with its completion."""


def bands(faults: Iterable[Op], end_us: int) -> list[Band]:
    """One band for each pair of a fault and its undoing, packed into rows that do not overlap."""
    found: list[Band] = []
    active: dict[tuple[int, str], Band] = {}
    ended: dict[tuple[int, str], Band] = {}
    for op in faults:
        value = op.value if isinstance(op.value, dict) else {}
        position: int = value["fault"] if isinstance(value.get("fault"), int) else -1
        time = op.time // 1_000
        if op.f in _UNDOING:
            if op.type == "invoke":
                ended.update(_end(active, position, op.f, time))
            if (position, op.f) in ended:
                ended[position, op.f].events.append(op.index)
            continue
        key = (position, op.f)
        if op.type == "invoke":
            if (position, ARMED) in active:
                active.pop((position, ARMED)).end = time
            band = _opened(op, position, value, time, end_us)
            found.append(band)
            active[key] = band
        elif key in active:
            active[key].events.append(op.index)
            _complete(active[key], op, value, time)
            if op.type == "fail":
                active.pop(key).end = time
    return _packed(found)


def _opened(op: Op, position: int, value: dict[str, Any], time: int, end_us: int) -> Band:
    band = Band(
        fault=position,
        kind=op.f,
        selector=str(value.get("selector", "")),
        start=time,
        end=end_us,
        targets=[],
        links=[],
        label="",
        outcome="open",
        events=[op.index],
    )
    band.label = _label(band, value)
    return band


def _complete(band: Band, op: Op, value: dict[str, Any], time: int) -> None:
    targets, links = value.get("targets"), value.get("links")
    band.targets = [str(t) for t in targets] if isinstance(targets, list) else []
    band.links = (
        [[str(end) for end in link] for link in links if isinstance(link, list)]
        if isinstance(links, list)
        else []
    )
    verified = value.get("verified")
    band.verified = verified if isinstance(verified, bool) else None
    band.detail = shorten(str(op.error or value.get("detail") or ""), 240)
    band.outcome = op.type
    band.start = time if op.type == "ok" else band.start
    band.label = _label(band, value)


def _end(
    active: dict[tuple[int, str], Band], position: int, undo: str, time: int
) -> dict[tuple[int, str], Band]:
    """Ends the band that this event undoes; returns it by its position and the event's `f`."""
    found: dict[tuple[int, str], Band] = {}
    for key in [k for k in active if k[0] == position and (UNDO.get(k[1]) == undo or k[1] not in KINDS)]:
        found[position, undo] = active.pop(key)
        found[position, undo].end = time
    return found


def _label(band: Band, value: dict[str, Any]) -> str:
    """`partition peers leader(orders/0) → b1`: kind, what the parameters add, selector, resolution."""
    params = value.get("params")
    words = [band.kind]
    if isinstance(params, dict):
        words += [str(params[k]) for k in ("shape", "mode", "step") if k in params]
        if params.get("how", "drop") != "drop":
            words.append(str(params["how"]))
        if params.get("direction", "both") != "both":
            words.append(str(params["direction"]))
        if "latency_ms" in params:
            words.append(f"{params['latency_ms']} ms")
        if "offset_ms" in params and params.get("offset_ms"):
            words.append(f"{params['offset_ms']} ms")
    words.append(band.selector)
    targets = " ".join(band.targets)
    if targets and targets != band.selector:
        words.append(f"→ {targets}")
    return " ".join(words)


def _packed(found: list[Band]) -> list[Band]:
    free_from: list[int] = []
    for band in sorted(found, key=lambda b: (b.start, b.fault)):
        row = next((r for r, free in enumerate(free_from) if free <= band.start), len(free_from))
        if row == len(free_from):
            free_from.append(0)
        free_from[row] = band.end
        band.row = row
    return found
