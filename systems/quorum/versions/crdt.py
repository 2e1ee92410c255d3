"""Counters and sets that merge by themselves (Shapiro et al. 2011): PN-counter, and OR-Set without tombstones."""

from __future__ import annotations

import msgspec

from systems.quorum.versions.siblings import Clock, joined


class Shard(msgspec.Struct, frozen=True, array_like=True):
    """One actor's part: how often it changed, and the sums of increments and decrements."""

    clock: int
    plus: int
    minus: int


class Counter(msgspec.Struct, frozen=True, tag="counter"):
    shards: dict[str, Shard]

    @property
    def value(self) -> int:
        return sum(s.plus - s.minus for s in self.shards.values())


class OrSet(msgspec.Struct, frozen=True, tag="set"):
    """ORSWOT (Bieniusa et al. 2012): element -> the dots of its adds; what the clock has seen and no element has is
    removed."""

    clock: Clock
    elements: dict[str, Clock]


NO_COUNTER = Counter({})
NO_SET = OrSet({}, {})


def counted(held: Counter, delta: int, actor: str) -> Counter:
    shard = held.shards.get(actor, Shard(0, 0, 0))
    changed = Shard(shard.clock + 1, shard.plus + max(delta, 0), shard.minus + max(-delta, 0))
    return Counter(dict(sorted({**held.shards, actor: changed}.items())))


def summed(a: Counter, b: Counter) -> Counter:
    shards = dict(a.shards)
    for actor, shard in b.shards.items():
        mine = shards.get(actor)
        if mine is None or shard.clock > mine.clock:
            shards[actor] = shard
    return Counter(dict(sorted(shards.items())))


def added(held: OrSet, element: str, actor: str) -> OrSet:
    number = held.clock.get(actor, 0) + 1
    clock = joined(held.clock, {actor: number})
    return OrSet(clock, dict(sorted({**held.elements, element: {actor: number}}.items())))


def removed(held: OrSet, element: str) -> OrSet:
    return OrSet(held.clock, {e: dots for e, dots in held.elements.items() if e != element})


def united(a: OrSet, b: OrSet) -> OrSet:
    elements: dict[str, Clock] = {}
    for element in sorted({*a.elements, *b.elements}):
        mine, theirs = a.elements.get(element, {}), b.elements.get(element, {})
        dots = {
            actor: number
            for actor, number in sorted({*mine.items(), *theirs.items()})
            if (mine.get(actor) == number or number > a.clock.get(actor, 0))
            and (theirs.get(actor) == number or number > b.clock.get(actor, 0))
        }
        if dots:
            elements[element] = dots
    return OrSet(joined(a.clock, b.clock), elements)
