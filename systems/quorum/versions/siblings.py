"""Siblings under dotted version vectors (Preguiça et al. 2010; Almeida et al. 2014): concurrent values are all kept.

A put happens at a replica under its own actor, which no other incarnation of it uses. Its dot is new; what the
writer's context has seen is dropped; what it has not seen is a sibling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

Clock = dict[str, int]
PRUNED_TO = 2


class Sibling(msgspec.Struct, frozen=True, array_like=True):
    actor: str
    number: int
    value: Any
    deleted: bool = False


class Siblings(msgspec.Struct, frozen=True, tag="siblings"):
    clock: Clock
    values: tuple[Sibling, ...]


EMPTY = Siblings({}, ())


def put(
    held: Siblings, context: Mapping[str, int], value: Any, actor: str, *, deleted: bool = False
) -> Siblings:
    number = max(held.clock.get(actor, 0), context.get(actor, 0)) + 1
    left = tuple(s for s in held.values if s.number > context.get(s.actor, 0))
    clock = joined(held.clock, {**context, actor: number})
    return Siblings(clock, _sorted((*left, Sibling(actor, number, value, deleted))))


def pruned(held: Siblings, *, newest_first: bool) -> Siblings:
    """The mistake of cutting a clock: what it no longer says was seen comes back (Dynamo, 4.4)."""
    kept = sorted(held.clock.items(), key=lambda entry: entry[1], reverse=not newest_first)[:PRUNED_TO]
    return Siblings(dict(sorted(kept)), held.values)


def synced(a: Siblings, b: Siblings) -> Siblings:
    """A dot stays where both have it, or where one has it and the other has never seen it."""
    left, right = {(s.actor, s.number): s for s in a.values}, {(s.actor, s.number): s for s in b.values}
    kept = [
        s
        for (dot, s) in {**left, **right}.items()
        if (dot in left or dot[1] > a.clock.get(dot[0], 0))
        and (dot in right or dot[1] > b.clock.get(dot[0], 0))
    ]
    return Siblings(joined(a.clock, b.clock), _sorted(kept))


def joined(a: Mapping[str, int], b: Mapping[str, int]) -> Clock:
    return {actor: max(a.get(actor, 0), b.get(actor, 0)) for actor in sorted({*a, *b})}


def _sorted(values: Any) -> tuple[Sibling, ...]:
    return tuple(sorted(values, key=lambda s: (s.actor, s.number)))
