"""Checker `causal`: reads respect the causal order of writes (Bouajjani, Enea, Guerraoui and Hamza, POPL 2017).

    write              key, value: written to that key only once
    read, final-read   key, the ok's value: null where nothing was written yet
    txn                a list of ["w", key, value] and ["r", key, value], in this order

Causal order is the transitive closure of session order and of each write before the reads of it. A session is a
process, or the field `session` of the invocation. With unique values a history is causally consistent exactly where it
shows none of the four bad patterns. A write of unknown outcome counts where it is read.

Each operation gets a vector of how many operations of each session are before it; one write is before another where
the vector says so, so that n operations of s sessions cost O(n s).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from checkers.violations import Violation, answer, distinct, quoted
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result

FUNCTIONS = frozenset({"write", "read", "final-read", "txn"})


class _Event(msgspec.Struct):
    """One read or write. `session` and `place` say where it stands; `source` is the write that a read saw."""

    operation: Operation
    writes: bool
    key: Any
    value: Any
    session: int
    place: int
    source: int = -1


class CausalChecker:
    description = "reads respect what their writer, and they themselves, had seen"
    anomalies: Mapping[str, str] = {
        "CyclicCO": "the causal order of operations has a cycle",
        "WriteCOInitRead": "the initial value was read although a write of that key is in the read's causal past",
        "WriteCORead": "a value was read that is overwritten in the read's causal past",
        "ThinAirRead": "a value was read that nobody wrote",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        every = [o for o in history.operations if o.f in FUNCTIONS]
        events, sessions = _events(every)
        events, twice = _unique(events)
        found, events = _sources(events)
        clocks, cyclic = _clocks(events, sessions)
        if cyclic:
            found += _cycle(events, cyclic)
        found += _overwritten(events, clocks, sessions, frozenset(cyclic))
        reads = sum(not event.writes for event in events)
        writes = len(events) - reads
        doubt = None
        if twice:
            doubt = (
                f"{len(twice)} keys had a value written twice, such as {twice[0]}: nothing is said of them"
            )
        elif not writes or not reads:
            doubt = f"{writes} writes and {reads} reads succeeded in {len(every)} operations"
        elif sessions < 2:
            doubt = "there is one session only: its order is all there is"
        return answer(
            "causal",
            history,
            context,
            found,
            doubt=doubt,
            measures={"reads": reads, "writes": writes, "sessions": sessions},
        )


def _events(every: list[Operation]) -> tuple[list[_Event], int]:
    numbers: dict[Any, int] = {}
    places: dict[int, int] = {}
    events: list[_Event] = []
    for operation in sorted(every, key=lambda o: o.invoke.index):
        if operation.outcome == "fail":
            continue
        who = operation.invoke.extra.get("session", operation.process)
        session = numbers.setdefault(who, len(numbers))
        for writes, key, value in _parts(operation):
            place = places.get(session, 0)
            places[session] = place + 1
            events.append(_Event(operation, writes, freeze(key), freeze(value), session, place))
    return events, len(numbers)


def _parts(operation: Operation) -> Iterator[tuple[bool, Any, Any]]:
    """(writes, key, value). What was read by an operation of unknown outcome is not known."""
    if operation.f == "write":
        yield True, operation.invoke.key, operation.invoke.value
    elif operation.f != "txn":
        if operation.outcome == "ok":
            yield False, operation.invoke.key, operation.value
    else:
        done = operation.outcome == "ok"
        for kind, key, value in (operation.value if done else operation.invoke.value) or ():
            if kind == "w":
                yield True, key, value
            elif done:
                yield False, key, value


def _unique(events: list[_Event]) -> tuple[list[_Event], list[Any]]:
    """Without the keys of which a value names two writes."""
    written: dict[tuple[Any, Any], int] = {}
    for event in events:
        if event.writes:
            written[event.key, event.value] = written.get((event.key, event.value), 0) + 1
    twice = list(dict.fromkeys(key for (key, _), count in written.items() if count > 1))
    left_out = frozenset(twice)
    return [event for event in events if event.key not in left_out], twice


def _sources(events: list[_Event]) -> tuple[list[Violation], list[_Event]]:
    """Every read gets the write that it saw; writes of unknown outcome that nobody read are left out."""
    seen = {(e.key, e.value) for e in events if not e.writes}
    kept = [e for e in events if not e.writes or e.operation.outcome == "ok" or (e.key, e.value) in seen]
    places: dict[int, int] = {}
    for event in kept:
        event.place = places.get(event.session, 0)
        places[event.session] = event.place + 1
    writers = {(e.key, e.value): at for at, e in enumerate(kept) if e.writes}
    found: list[Violation] = []
    for event in kept:
        if event.writes or event.value is None:
            continue
        event.source = writers.get((event.key, event.value), -1)
        if event.source < 0:
            found.append(
                Violation(
                    name="ThinAirRead",
                    where=f"key {event.key}",
                    sentence=(
                        f"process {event.operation.process} read {quoted(event.value)} of key {event.key}, which "
                        "nobody wrote"
                    ),
                    operations=(event.operation,),
                    value=event.value,
                )
            )
    return found, kept


def _clocks(events: list[_Event], sessions: int) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Row e: how many events of each session are e or before it. And the events that no order has place for."""
    clocks = np.zeros((len(events), max(sessions, 1)), dtype=np.int32)
    after: list[list[int]] = [[] for _ in events]
    missing = [0] * len(events)
    last: dict[int, int] = {}
    for at, event in enumerate(events):
        before = [last[event.session]] if event.session in last else []
        if event.source >= 0 and event.source not in before:
            before.append(event.source)
        last[event.session] = at
        for one in before:
            after[one].append(at)
        missing[at] = len(before)
    ready = deque(at for at, count in enumerate(missing) if not count)
    while ready:
        at = ready.popleft()
        event = events[at]
        clocks[at, event.session] = max(clocks[at, event.session], event.place + 1)
        for one in after[at]:
            np.maximum(clocks[one], clocks[at], out=clocks[one])
            missing[one] -= 1
            if not missing[one]:
                ready.append(one)
    return clocks, [at for at, count in enumerate(missing) if count]


def _cycle(events: list[_Event], left: list[int]) -> list[Violation]:
    """The shortest way round among what is left, from an event of a cycle."""
    inside = set(left)
    previous: dict[int, list[int]] = {at: [] for at in left}
    last: dict[int, int] = {}
    for at, event in enumerate(events):
        for one in (last.get(event.session, -1), event.source):
            if at in inside and one in inside:
                previous[at].append(one)
        last[event.session] = at
    best: list[int] = []
    for start in left[:200]:
        way = _way_round(start, previous)
        if way and (not best or len(way) < len(best)):
            best = way
    operations = distinct(events[at].operation for at in best)
    told = ", ".join(
        f"process {events[at].operation.process} "
        f"{'wrote' if events[at].writes else 'read'} {quoted(events[at].value)} of key {events[at].key}"
        for at in reversed(best)
    )
    return [
        Violation(
            name="CyclicCO",
            where=f"key {events[best[0]].key}",
            sentence=f"each of these is before the next, and the last before the first: {told}",
            operations=operations,
        )
    ]


def _way_round(start: int, previous: Mapping[int, list[int]]) -> list[int]:
    came: dict[int, int] = {}
    queue = deque([start])
    while queue:
        at = queue.popleft()
        for one in previous[at]:
            if one == start:
                way = [at]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way
            if one not in came:
                came[one] = at
                queue.append(one)
    return []


def _overwritten(
    events: list[_Event], clocks: np.ndarray[Any, Any], sessions: int, cyclic: frozenset[int]
) -> list[Violation]:
    """Reads of a value, or of nothing, that is overwritten in their causal past."""
    writes: dict[tuple[Any, int], list[tuple[int, int]]] = {}
    for at, event in enumerate(events):
        if event.writes and at not in cyclic:
            writes.setdefault((event.key, event.session), []).append((event.place, at))
    found: list[Violation] = []
    for at, event in enumerate(events):
        if event.writes or at in cyclic or (event.value is not None and event.source < 0):
            continue
        for session in range(sessions):
            own = writes.get((event.key, session))
            if own is None:
                continue
            before = bisect_left(own, (int(clocks[at, session]), -1))
            if not before:
                continue
            later = own[before - 1][1]
            if later == event.source:
                continue
            if event.source < 0:
                found.append(_told(event, None, events[later]))
                break
            source = events[event.source]
            if clocks[later, source.session] > source.place:
                found.append(_told(event, source, events[later]))
                break
    return found


def _told(read: _Event, source: _Event | None, later: _Event) -> Violation:
    who = f"process {read.operation.process}"
    newer = f"{quoted(later.value)} of process {later.operation.process}"
    if source is None:
        sentence = f"{who} read nothing of key {read.key}, though {newer} is in its causal past"
        operations: tuple[Operation, ...] = (later.operation, read.operation)
        name = "WriteCOInitRead"
    else:
        sentence = (
            f"{who} read {quoted(source.value)} of key {read.key}, though {newer}, which came causally after it, is in "
            "its causal past"
        )
        operations = (source.operation, later.operation, read.operation)
        name = "WriteCORead"
    return Violation(
        name=name,
        where=f"key {read.key}",
        sentence=sentence,
        operations=distinct(operations),
        value=read.value,
    )
