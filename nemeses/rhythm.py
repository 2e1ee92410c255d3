"""When faults happen: episodes of faults with quiet between them, inside a time limit.

A run begins quiet (about five seconds, so that there is something to lose) and ends quiet (about ten, so
that the system can be seen to recover). Short runs get the same shape in proportion.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import msgspec

from harness.schedule import Fault, Schedule

T = TypeVar("T")

FIRST_FAULT_MS = 5_000
QUIET_END_MS = 10_000
SHORTEST_EPISODE_MS = 500


class Range(NamedTuple):
    """Milliseconds, both ends included."""

    low: int
    high: int

    def draw(self, rng: random.Random) -> int:
        return rng.randint(self.low, max(self.low, self.high))


def usable(time_limit_ms: int) -> Range:
    """The part of a run in which faults may be active."""
    first = min(FIRST_FAULT_MS, time_limit_ms // 6)
    return Range(first, time_limit_ms - min(QUIET_END_MS, time_limit_ms // 4))


def episodes(
    time_limit_ms: int, rng: random.Random, script: Callable[[], list[Fault]], *, quiet_ms: Range
) -> Schedule:
    """As many episodes as fit. `script` draws one, its faults counted from its own start.

    The last one is squeezed into what time is left, unless less than half of what it wants is; the first
    always takes place, so that a short run too has its fault.
    """
    start, end = usable(time_limit_ms)
    faults: list[Fault] = []
    while True:
        start += rng.randint(0, min(500, time_limit_ms // 60))
        left = end - start
        if left < min(SHORTEST_EPISODE_MS, end // 2):
            break
        episode = script()
        wanted = length_ms(episode)
        if faults and left < wanted // 2:
            break
        faults += [_moved(f, start, min(1.0, left / wanted)) for f in episode]
        start += min(wanted, left) + quiet_ms.draw(rng)
    return Schedule(tuple(sorted(faults, key=lambda f: f.at_ms)))


def length_ms(episode: Iterable[Fault]) -> int:
    return max(1, *(f.at_ms + (f.duration_ms or 0) for f in episode))


def _moved(fault: Fault, start_ms: int, scale: float) -> Fault:
    at_ms = start_ms + int(fault.at_ms * scale)
    duration_ms = None if fault.duration_ms is None else max(1, int(fault.duration_ms * scale))
    return msgspec.structs.replace(fault, at_ms=at_ms, duration_ms=duration_ms)


def draw(rng: random.Random, choices: Iterable[tuple[int, T]]) -> T:
    """One of several weighted choices. The first stands where a shrinking Hypothesis goes: put it simplest."""
    weighted = [(weight, choice) for weight, choice in choices if weight > 0]
    point = rng.randint(1, sum(weight for weight, _ in weighted))
    for weight, choice in weighted:
        point -= weight
        if point <= 0:
            return choice
    raise AssertionError("unreachable: the weights sum to the largest point")
