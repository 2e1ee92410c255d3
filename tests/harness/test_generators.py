"""Generators: rates, mixes, phases, limits, per-slot work."""

from __future__ import annotations

import random

from harness.generators import (
    BySlot,
    Context,
    Generator,
    Limit,
    Mix,
    Once,
    Pause,
    Phases,
    Rate,
    Repeat,
    TimeLimit,
    Until,
    Wait,
)
from harness.workload import Invocation, ok

RNG = random.Random(7)


def at(now_ms: float, slot: int = 0, slots: int = 2) -> Context:
    return Context(slot=slot, process=slot, slots=slots, now_ms=now_ms, random=RNG)


def op(f: str) -> Generator:
    return Repeat(lambda context: Invocation(f=f))


def name(answer: object) -> str | None:
    return answer.f if isinstance(answer, Invocation) else None


def asked(generator: Generator, times: int) -> list[str | None]:
    return [name(generator.next(at(float(i)))) for i in range(times)]


def test_once_hands_each_invocation_to_whoever_asks_first() -> None:
    generator = Once([Invocation(f="a"), Invocation(f="b")])
    assert [name(generator.next(at(0, slot))) for slot in (1, 0, 1)] == ["a", "b", None]


def test_a_rate_is_kept_over_all_slots() -> None:
    generator, now, count = Rate(op("add"), per_second=100), 0.0, 0
    while now < 60_000:
        answer = generator.next(at(now))
        if isinstance(answer, Wait):
            now += answer.ms
        else:
            count += 1
    assert 5_600 < count < 6_400


def test_a_rate_does_not_make_up_for_a_long_stall() -> None:
    generator = Rate(op("add"), per_second=10)
    assert name(generator.next(at(0))) == "add"
    burst = 0
    while not isinstance(generator.next(at(60_000)), Wait):
        burst += 1
    assert burst < 10


def test_a_pause_counts_for_its_own_slot() -> None:
    generator = Pause(op("add"), mean_ms=50)
    first = generator.next(at(0))
    assert isinstance(first, Invocation)
    generator.completed(at(0), first, ok())
    assert isinstance(generator.next(at(0)), Wait)
    assert name(generator.next(at(0, slot=1))) == "add"


def test_limits_of_count_and_time() -> None:
    assert asked(Limit(op("add"), 2), 4) == ["add", "add", None, None]
    assert asked(TimeLimit(op("add"), 2), 4) == ["add", "add", None, None]
    waiting = TimeLimit(Rate(op("add"), per_second=0.001), 10)
    waiting.next(at(0))
    answer = waiting.next(at(4))
    assert answer is None or (isinstance(answer, Wait) and answer.ms <= 6) or isinstance(answer, Invocation)


def test_a_mix_draws_by_weight_and_goes_on_without_the_exhausted() -> None:
    generator = Mix([(1, Limit(op("rare"), 5)), (9, op("often"))])
    drawn = asked(generator, 400)
    assert drawn.count("rare") == 5
    assert None not in drawn
    assert asked(Mix([(1, Limit(op("a"), 1))]), 2) == ["a", None]


def test_slots_without_a_generator_have_nothing_to_do() -> None:
    generator = BySlot({1: op("read")})
    assert name(generator.next(at(0, slot=1))) == "read"
    assert generator.next(at(0, slot=0)) is None


def test_a_phase_begins_when_every_slot_has_finished_the_one_before() -> None:
    generator = Phases(Limit(op("write"), 1), Limit(op("read"), 2))
    assert name(generator.next(at(0, slot=0))) == "write"
    assert isinstance(generator.next(at(1, slot=1)), Wait)
    assert name(generator.next(at(2, slot=0))) == "read"
    assert name(generator.next(at(3, slot=1))) == "read"
    assert isinstance(generator.next(at(4, slot=0)), Wait)
    assert generator.next(at(5, slot=1)) is None
    assert generator.next(at(6, slot=0)) is None


def test_until_stops_each_slot_at_its_own_success() -> None:
    generator = Until(op("drain"), lambda invocation, completion: completion.value == "empty")
    first = generator.next(at(0))
    assert isinstance(first, Invocation)
    generator.completed(at(1), first, ok("more"))
    assert name(generator.next(at(2))) == "drain"
    generator.completed(at(3), first, ok("empty"))
    assert generator.next(at(4)) is None
    assert name(generator.next(at(4, slot=1))) == "drain"
