"""The cluster's state as lanes over time, from what its nodes said of themselves.

A lane is a row of segments (somebody leads, somebody coordinates) with marks on it (a truncation, a fence).
The words are those of the broker's events; events of other systems become marks on their node's lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from harness.node import NodeEvent
from reports.faults import ARMED, Band

MOST_MARKS = 2_000
INTERNAL = "__"
"""Prefix of the topics that a system keeps for itself."""


TOLD_BY_SEGMENTS = frozenset({"leader-elected", "isr-shrunk", "isr-expanded", "follower"})
"""What a broker says when it learns of a change that the controller has reported already."""


MINOR = frozenset({"txn-state", "txn-aborted", "group-generation", "producer-id", "broker-started"})


class Segment(msgspec.Struct):
    """From `start` to `end` (microseconds) the lane shows `who` and `text`. `who` None: nobody."""

    start: int
    end: int
    who: str | None
    text: str
    note: str = ""
    """What follows the text when there is room: the ISR of a partition."""
    weak: bool = False
    """Reduced: an ISR that shrank, a fenced node."""
    why: str = ""


class Mark(msgspec.Struct):
    """Something that happened. `minor`: one of many that say little on their own."""

    time: int
    text: str
    minor: bool = False


class Lane(msgspec.Struct):
    name: str
    group: str
    """`partitions`, `controller`, `coordinators`, `nodes`."""
    segments: list[Segment] = msgspec.field(default_factory=list)
    marks: list[Mark] = msgspec.field(default_factory=list)
    internal: bool = False


class _Lanes:
    def __init__(self) -> None:
        self.by_name: dict[tuple[str, str], Lane] = {}

    def lane(self, group: str, name: str) -> Lane:
        key = (group, name)
        if key not in self.by_name:
            internal = group == "partitions" and name.startswith(INTERNAL)
            self.by_name[key] = Lane(name=name, group=group, internal=internal)
        return self.by_name[key]


def lanes(
    events: Sequence[NodeEvent], bands: Iterable[Band], nodes: Sequence[str], end_us: int
) -> list[Lane]:
    made = _Lanes()
    for node in nodes:
        made.lane("nodes", node)
    _down_times(made, bands, set(nodes))
    marks = 0
    for event in events:
        time = event.time // 1_000
        match event.kind:
            case "partition-changed":
                _partition(made, event, time)
            case "controller-elected":
                epoch = event.fields.get("epoch", "?")
                lane = made.lane("controller", "controller")
                _switch(lane, Segment(time, end_us, event.node, f"{event.node} e{epoch}"))
            case "coordinator-loaded":
                name = (
                    f"{event.fields.get('kind', 'coordinator')} {event.fields.get('partition', '')}".strip()
                )
                text = f"{event.node} e{event.fields.get('epoch', '?')}"
                resumed = event.fields.get("resumed") or []
                why = f"took over in mid-commit: {_words(resumed)}" if resumed else ""
                _switch(made.lane("coordinators", name), Segment(time, end_us, event.node, text, why=why))
            case "broker-fenced" | "broker-unfenced":
                broker = str(event.fields.get("broker", event.node))
                made.lane("nodes", broker).marks.append(Mark(time, _told(event)))
            case kind if kind in TOLD_BY_SEGMENTS:
                continue
            case _:
                if marks < MOST_MARKS:
                    _place(made, event).marks.append(Mark(time, _told(event), event.kind in MINOR))
                    marks += 1
    for lane in made.by_name.values():
        _close(lane, end_us)
    return _ordered(made.by_name.values())


def _partition(made: _Lanes, event: NodeEvent, time: int) -> None:
    fields = event.fields
    lane = made.lane("partitions", str(fields.get("partition", "?")))
    isr = [str(n) for n in fields.get("isr") or []]
    leader = fields.get("leader")
    who = None if leader in (None, -1, "") else str(leader)
    widest = max([len(isr), *(len(s.note.split()) for s in lane.segments)])
    text = f"{who} e{fields.get('leader_epoch', '?')}" if who else "no leader"
    reason = str(fields.get("reason", ""))
    _switch(lane, Segment(time, -1, who, text, note=" ".join(isr), weak=len(isr) < widest, why=reason))
    if "unclean" in reason:
        lane.marks.append(Mark(time, f"{who} elected uncleanly"))


def _switch(lane: Lane, segment: Segment) -> None:
    if lane.segments:
        lane.segments[-1].end = segment.start
        if lane.segments[-1].start == segment.start:
            lane.segments.pop()
    lane.segments.append(segment)


def _close(lane: Lane, end_us: int) -> None:
    for segment in lane.segments:
        if segment.end < 0:
            segment.end = end_us
    if lane.segments and lane.group != "nodes":
        lane.segments[-1].end = end_us


def _down_times(made: _Lanes, bands: Iterable[Band], nodes: set[str]) -> None:
    """When a node was down, stalled or cut off, from the faults that hit it."""
    words = {"kill": "down", "power": "no power", "pause": "stalled", "partition": "cut", "slow": "slow"}
    for band in bands:
        if band.outcome != "ok" or band.kind == ARMED:
            continue
        for target in band.targets:
            if target in nodes:
                text = words.get(band.kind, band.kind)
                lane = made.lane("nodes", target)
                lane.segments.append(Segment(band.start, band.end, None, text, weak=True, why=band.label))


def _place(made: _Lanes, event: NodeEvent) -> Lane:
    """A mark belongs to the partition that its event names, else to the node that said it."""
    partition = event.fields.get("partition")
    if isinstance(partition, str) and ("partitions", partition) in made.by_name:
        return made.by_name["partitions", partition]
    return made.lane("nodes", event.node)


def _told(event: NodeEvent) -> str:
    fields = ", ".join(f"{name} {_words(value)}" for name, value in event.fields.items())
    return f"{event.node}: {event.kind}{f' ({fields})' if fields else ''}"[:300]


def _words(value: Any) -> str:
    return " ".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)


def _ordered(found: Iterable[Lane]) -> list[Lane]:
    groups = ("partitions", "controller", "coordinators", "nodes")
    return sorted(found, key=lambda lane: (lane.internal, groups.index(lane.group), lane.name))
