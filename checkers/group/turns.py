"""What a history says about a group: turns of its members, what they committed and fetched, and its effects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from checkers.log.observations import Value, hashable
from harness.ops import Operation, Process


class Commit(msgspec.Struct, frozen=True):
    """Of one partition. `outcome`: `ok`, `refused` (it certainly had no effect), or `unknown`."""

    partition: str
    offset: int
    generation: int
    outcome: str
    operation: Operation


class Resumed(msgspec.Struct, frozen=True):
    """A member began with a partition: what the group had committed by its coordinator's word, and where it began."""

    partition: str
    committed: int | None
    position: int
    operation: Operation


class Turn(msgspec.Struct, frozen=True):
    """One operation `consume`. `member` is empty, and what it had is not known, where it did not live to say."""

    operation: Operation
    member: str
    generation: int
    assigned: tuple[str, ...]
    records: tuple[tuple[str, int, Value], ...]
    commits: tuple[Commit, ...]
    resumed: tuple[Resumed, ...]
    position: tuple[tuple[str, int], ...]
    instance: str | None
    """A static member's name: whoever comes back under it takes up the place of its predecessor."""
    moves: tuple[tuple[float, str, tuple[str, ...]], ...]
    """When it was given partitions (`+`), and when they were taken away (`-`)."""
    lives: bool
    """Whether the member goes on after it."""
    told: bool
    """Whether it says itself what it committed: one that was lost sight of may have committed anything."""

    @property
    def process(self) -> Process:
        return self.operation.process


class Effect(msgspec.Struct, frozen=True):
    partition: str
    offset: int
    value: Value
    process: Process | None
    time_ms: float | None
    generation: int | None = None


class Store(msgspec.Struct, frozen=True):
    """The effects as they were read back in the end. `operation` None: they were not, or not to the end."""

    effects: tuple[Effect, ...]
    operation: Operation | None


def turns(operations: Iterable[Operation]) -> list[Turn]:
    """In order of their beginning."""
    found = [_turn(o) for o in operations if o.f == "consume"]
    return sorted(found, key=lambda turn: turn.operation.invoke.index)


def store(operations: Iterable[Operation]) -> Store:
    """The last complete look at it."""
    last = Store((), None)
    for operation in operations:
        completion = operation.completion
        if operation.f != "effects" or operation.outcome != "ok" or completion is None:
            continue
        if completion.extra.get("reached"):
            last = Store(tuple(_effect(row) for row in completion.value or ()), operation)
    return last


def ended_before(one: Operation, other: Operation) -> bool:
    """For certain: by the order of events, not by their times."""
    return one.completion is not None and one.completion.index < other.invoke.index


def _turn(operation: Operation) -> Turn:
    completion = operation.completion
    extra: dict[str, Any] = {} if completion is None else completion.extra
    value = (None if completion is None else completion.value) or ()
    return Turn(
        operation=operation,
        member=str(extra.get("member", "")),
        generation=int(extra.get("generation", -1)),
        assigned=tuple(str(p) for p in extra.get("assigned", ())),
        records=tuple((str(p), int(offset), hashable(v)) for p, offset, v in value),
        commits=tuple(
            Commit(str(p), int(offset), int(commit["generation"]), str(commit["outcome"]), operation)
            for commit in extra.get("commits", ())
            for p, offset in commit["offsets"]
        ),
        resumed=tuple(
            Resumed(str(p), None if committed is None else int(committed), int(position), operation)
            for p, committed, position in extra.get("resumed", ())
        ),
        position=tuple((str(p), int(offset)) for p, offset in extra.get("position", ())),
        instance=extra.get("instance"),
        moves=tuple(
            (float(at_ms), str(sign), tuple(str(p) for p in partitions))
            for at_ms, sign, partitions in extra.get("moves", ())
        ),
        lives="crashed" not in extra and not extra.get("left"),
        told="commits" in extra,
    )


def _effect(row: list[Any]) -> Effect:
    partition, offset, value, *who = row
    return Effect(
        str(partition),
        int(offset),
        hashable(value),
        who[0] if who else None,
        float(who[1]) if len(who) > 1 else None,
        int(who[2]) if len(who) > 2 else None,
    )
