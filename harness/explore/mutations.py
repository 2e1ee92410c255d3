"""Schedules that are a little different: a fault moved, stretched, doubled, dropped, or taken from another schedule."""

from __future__ import annotations

import random

import msgspec

from harness.schedule import Fault, Schedule

LONGEST_MS = 20_000


def mutated(schedule: Schedule, other: Schedule, limit_ms: int, rng: random.Random) -> Schedule:
    """One to three changes."""
    faults = list(schedule.faults)
    for _ in range(rng.randint(1, 3)):
        faults = _changed(faults, other, limit_ms, rng)
    return Schedule(tuple(sorted(faults, key=lambda fault: fault.at_ms)))


def _changed(faults: list[Fault], other: Schedule, limit_ms: int, rng: random.Random) -> list[Fault]:
    kind = rng.choice(("move", "stretch", "double", "drop", "splice"))
    if kind == "splice" and other.faults:
        taken = rng.choice(other.faults)
        return [*faults, _moved(taken, limit_ms, rng)]
    if not faults:
        return faults
    at = rng.randrange(len(faults))
    fault, rest = faults[at], faults[:at] + faults[at + 1 :]
    match kind:
        case "move":
            return [*rest, _moved(fault, limit_ms, rng)]
        case "stretch":
            longer = int((fault.duration_ms or LONGEST_MS) * rng.choice((0.3, 0.6, 1.5, 3.0)))
            return [*rest, msgspec.structs.replace(fault, duration_ms=max(1, min(longer, LONGEST_MS)))]
        case "drop":
            return rest
        case _:
            return [*faults, _moved(fault, limit_ms, rng)]


def _moved(fault: Fault, limit_ms: int, rng: random.Random) -> Fault:
    """Near where it was as often as anywhere."""
    if rng.random() < 0.5:
        at = fault.at_ms + rng.randint(-1_500, 1_500)
    else:
        at = rng.randrange(limit_ms)
    return msgspec.structs.replace(fault, at_ms=max(0, min(at, limit_ms - 1)))
