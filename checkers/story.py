"""The story of an anomaly: moments in order of time, those that matter most where there are too many.

Node events are colour: no verdict rests on them, and a history without them tells the same anomalies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from checkers.narrative import begins, ends
from checkers.outages import SILENCES, Outage
from harness.results import Moment

MOST_MOMENTS = 15

ESSENTIAL, TELLING, COLOUR = 0, 1, 2
"""How much a moment matters; the proof itself is essential."""


class Beat(msgspec.Struct, frozen=True):
    moment: Moment
    weight: int = ESSENTIAL


def compose(beats: Iterable[Beat]) -> tuple[Moment, ...]:
    """At most `MOST_MOMENTS`, in order of time. What is left out, least weight and latest first, is counted where
    the first of it would stand."""
    ordered = sorted(_distinct(beats), key=lambda beat: beat.moment.time)
    if len(ordered) <= MOST_MOMENTS:
        return tuple(beat.moment for beat in ordered)
    by_weight = sorted(range(len(ordered)), key=lambda place: (ordered[place].weight, place))
    last = len(ordered) - 1
    kept = set(by_weight[: MOST_MOMENTS - 1])
    if ordered[last].weight == ESSENTIAL and last not in kept:
        kept = {*by_weight[: MOST_MOMENTS - 2], last}
    dropped = [place for place in range(len(ordered)) if place not in kept]
    count = len(dropped)
    left_out = Moment(
        ordered[dropped[0]].moment.time, f"… {count} less telling moments from here on are left out"
    )
    told = [
        left_out if place == dropped[0] else ordered[place].moment
        for place in range(len(ordered))
        if place in kept or place == dropped[0]
    ]
    return tuple(told)


def _distinct(beats: Iterable[Beat]) -> list[Beat]:
    """The same sentence at the same time is told once, with its greatest weight."""
    found: dict[tuple[int, str], Beat] = {}
    for beat in beats:
        key = (beat.moment.time, beat.moment.text)
        if key not in found or beat.weight < found[key].weight:
            found[key] = beat
    return list(found.values())


def fault_beats(
    faults: Sequence[Outage],
    start: int,
    end: int,
    *,
    concerned: Iterable[str] = (),
    decisive: Iterable[str] = (),
) -> list[Beat]:
    """Faults in force between `start` and `end`; one that began earlier stands at its own time. Those that silenced a
    `decisive` node are essential, those that hit a `concerned` one telling."""
    near, crucial = frozenset(concerned), frozenset(decisive)
    beats: list[Beat] = []
    for fault in faults:
        if not fault.overlaps(start, end):
            continue
        hit = frozenset(fault.targets)
        weight = TELLING if hit & near else COLOUR
        if hit & crucial and fault.kind in SILENCES:
            weight = ESSENTIAL
        node = fault.targets[0] if len(fault.targets) == 1 else None
        beats.append(Beat(Moment(fault.start, begins(fault), op=fault.index, node=node), weight))
        if fault.end is not None and fault.end <= end:
            after = Moment(fault.end, ends(fault), op=fault.undone, node=node)
            beats.append(Beat(after, max(weight, TELLING)))
    return beats


def active_between(faults: Sequence[Outage], start: int, end: int) -> tuple[int, ...]:
    """History indices of the faults in force at some time between."""
    return tuple(sorted(fault.index for fault in faults if fault.overlaps(start, end)))
