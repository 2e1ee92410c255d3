"""The ways to make a failing case smaller, the bold ones first. Each is a pure function from a case to candidates.

In the manner of Hypothesis' shrinker (MacIver and Donaldson, ECOOP 2020) and of delta debugging (Zeller and
Hildebrandt 2002): a pass offers candidates in order of how much they take away; the search keeps the first that
still fails and asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from harness.schedule import Fault, Schedule
from harness.shrink.case import OPS_LIMIT, Case, with_settings
from harness.spec import Spec

Pass = Callable[[Case], Iterator[Spec]]

SHORTEST_MS = 500
"""No main phase or fault is made shorter: below it nothing gets easier to read."""
AROUND_MS = 1_000
"""Of quiet before and after a few faults that are tried alone."""
MOST_IN_A_ROW = 3
ROUND_MS = (1_000, 500, 100)


def a_few_soon(case: Case) -> Iterator[Spec]:
    """One fault alone, or two or three in a row, soon after the start, and an end soon after them: mostly that is all
    there is to a failure, and such a run costs a fraction of the whole one."""
    faults = _faults(case)
    for count in range(1, MOST_IN_A_ROW + 1):
        for first in range(len(faults) - count + 1):
            chosen = faults[first : first + count]
            earlier = max(0, chosen[0].at_ms - AROUND_MS)
            moved = tuple(msgspec.structs.replace(f, at_ms=f.at_ms - earlier) for f in chosen)
            limit = max(f.at_ms + (f.duration_ms or 0) for f in moved) + AROUND_MS
            if limit < case.spec.time_limit_ms:
                yield with_settings(case.spec, time_limit_ms=limit, schedule=Schedule(moved))


def fewer_faults(case: Case) -> Iterator[Spec]:
    """Without a half, a quarter, … one of them."""
    faults = _faults(case)
    if faults:
        yield _scheduled(case, ())
    chunk = len(faults) // 2
    while chunk:
        # From the end: what came after the failure is the likeliest to be idle.
        for start in range(len(faults) - chunk, -1, -chunk):
            yield _scheduled(case, faults[:start] + faults[start + chunk :])
        chunk //= 2


def less_time(case: Case) -> Iterator[Spec]:
    """A shorter main phase, without the faults that would come after it; then the same faults earlier."""
    limit = case.spec.time_limit_ms
    for part in (0.125, 0.25, 0.5, 0.75, 0.9):
        shorter = int(limit * part)
        if shorter < SHORTEST_MS:
            continue
        kept = tuple(f for f in _faults(case) if f.at_ms < shorter)
        yield with_settings(case.spec, time_limit_ms=shorter, schedule=Schedule(kept))
        moved = tuple(msgspec.structs.replace(f, at_ms=int(f.at_ms * part)) for f in _faults(case))
        yield with_settings(case.spec, time_limit_ms=shorter, schedule=Schedule(moved))


def fewer_operations(case: Case) -> Iterator[Spec]:
    """At most so many in the main phase."""
    present = int(case.spec.settings.get(OPS_LIMIT, 0)) or case.operations
    tried: dict[int, None] = {}
    for part in (0.03, 0.06, 0.125, 0.25, 0.5, 0.75, 0.9):
        tried[max(1, int(present * part))] = None
    if present > 1:
        tried[present - 1] = None
    for limit in tried:
        if limit < present:
            yield with_settings(case.spec, settings={**case.spec.settings, OPS_LIMIT: limit})


def lower_rate(case: Case) -> Iterator[Spec]:
    """The same time with fewer operations in it, which spreads a few of them around the faults."""
    rate = case.spec.rate
    for part in (0.05, 0.1, 0.25, 0.5):
        if rate * part >= 0.5:
            yield with_settings(case.spec, rate=round(rate * part, 2))


def fewer_clients(case: Case) -> Iterator[Spec]:
    present = case.spec.concurrency
    for count in dict.fromkeys((1, 2, present // 2, present - 1)):
        if 0 < count < present:
            yield with_settings(case.spec, concurrency=count)


def fewer_nodes(case: Case) -> Iterator[Spec]:
    for count in range(1, case.spec.nodes):
        yield with_settings(case.spec, nodes=count)


def fewer_settings(case: Case) -> Iterator[Spec]:
    """Without a setting or a bug that the failure does not need."""
    for bug in case.spec.bugs:
        yield with_settings(case.spec, bugs=tuple(b for b in case.spec.bugs if b != bug))
    for key in case.spec.settings:
        if key != OPS_LIMIT:
            left = {k: v for k, v in case.spec.settings.items() if k != key}
            yield with_settings(case.spec, settings=left)


def simpler_faults(case: Case) -> Iterator[Spec]:
    """Shorter ones, at rounder times, with fewer parameters."""
    for at, fault in enumerate(_faults(case)):
        for simpler in _simpler(fault):
            yield _scheduled(case, (*_faults(case)[:at], simpler, *_faults(case)[at + 1 :]))


def _simpler(fault: Fault) -> Iterator[Fault]:
    for name in fault.params:
        left = {k: v for k, v in fault.params.items() if k != name}
        yield msgspec.structs.replace(fault, params=left)
    if fault.duration_ms is not None:
        for part in (0.25, 0.5):
            if (shorter := int(fault.duration_ms * part)) >= SHORTEST_MS:
                yield msgspec.structs.replace(fault, duration_ms=shorter)
        yield from _rounded(fault, "duration_ms", fault.duration_ms)
    yield from _rounded(fault, "at_ms", fault.at_ms)


def _rounded(fault: Fault, field: str, value: int) -> Iterator[Fault]:
    for unit in ROUND_MS:
        if value % unit == 0:
            return
        if value > unit:
            yield msgspec.structs.replace(fault, **{field: value - value % unit})


PASSES: dict[str, Pass] = {
    "faults and time": a_few_soon,
    "time": less_time,
    "faults": fewer_faults,
    "operations": fewer_operations,
    "rate": lower_rate,
    "clients": fewer_clients,
    "nodes": fewer_nodes,
    "settings": fewer_settings,
    "fault details": simpler_faults,
}
"""In the order of a round: what shortens the run first, as every later candidate costs what the run is long."""


def _faults(case: Case) -> tuple[Fault, ...]:
    return () if case.spec.schedule is None else case.spec.schedule.faults


def _scheduled(case: Case, faults: tuple[Fault, ...]) -> Spec:
    return with_settings(case.spec, schedule=Schedule(tuple(sorted(faults, key=lambda f: f.at_ms))))
