"""Directed schedules of registers: each shows its anomaly with the mistake, and nothing with the safe twin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from harness.capabilities import DefiniteFailure
from tests.systems.quorum.simulated import Simulated, simulate

T = TypeVar("T")
NONE: frozenset[str] = frozenset()
GIVEN_UP_S = 40.0
SKEW_MS = 10_000.0


async def until(ask: Callable[[], Awaitable[T]], right: Callable[[T], bool]) -> T:
    """The first answer that is right."""
    while True:
        answer = await ask()
        if right(answer):
            return answer
        await asyncio.sleep(0.005)


async def new_then_old(running: Simulated) -> tuple[int, int]:
    """S12. A write is at one replica and on its way to the others. What a reader sees who meets it, and what one sees
    who begins after that."""
    first, second, third = running.inside
    writer = running.outside[0]
    await running.put(writer, 1)
    await running.slow(writer, second, third, latency_ms=500)
    await running.slow(first, second, third, latency_ms=50)
    writing = asyncio.ensure_future(running.put(writer, 2))
    seen = await until(lambda: running.get(first), lambda value: value == 2)
    after = await running.get(second)
    assert not writing.done()
    await writing
    return seen, after


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("profile", "bugs", "repair", "after"),
    [
        ("quorum", NONE, "none", 1),
        ("quorum", NONE, "async", 1),
        ("quorum-repair", NONE, "blocking", 2),
        ("abd", NONE, "blocking", 2),
        ("abd", frozenset({"abd-no-write-back"}), "blocking", 1),
    ],
)
def test_s12_new_old_inversion(
    profile: str, bugs: frozenset[str], repair: str, after: int, seed: int
) -> None:
    assert simulate(new_then_old, profile=profile, bugs=bugs, read_repair=repair, seed=seed) == (2, after)


async def tag_of_a_dead_writer(running: Simulated) -> list[int]:
    """S13. A writer dies when one replica has its write, and comes back. What each replica reads in the end.

    Its machine loses power and stays away until the others' TCP has given up: what it had sent never arrives."""
    first, second, third = running.inside
    writer = running.outside[0]
    await running.put(writer, 1)
    await running.slow(writer, second, third, latency_ms=500)
    lost = asyncio.ensure_future(running.put(writer, 2))
    await until(
        lambda: running.at(first, lambda c: c.replicas("k"), "replicas"),
        lambda held: held[first]["value"] == "2",
    )
    await running.part(writer, second, third)
    await running.cluster.power_fail(writer)
    lost.cancel()
    await asyncio.sleep(GIVEN_UP_S)
    await running.slow(writer, second, third, latency_ms=0)
    await running.join(writer, second, third)
    await running.part(writer, first)
    await running.part(first, second, third)
    await running.cluster.restart(writer)
    while True:
        # It must know its peers first.
        try:
            await running.put(writer, 3)
            break
        except DefiniteFailure:
            await asyncio.sleep(0.1)
    await running.join(first, second, third, writer)
    await running.recovered()
    return [await running.get(node) for node in running.inside]


def test_s13_a_writer_that_comes_back_never_uses_its_tag_again() -> None:
    assert simulate(tag_of_a_dead_writer) in ([2] * 3, [3] * 3)


def test_s13_the_tag_of_a_dead_writer_reused() -> None:
    seen = simulate(
        tag_of_a_dead_writer,
        bugs=frozenset({"abd-tag-reuse-after-restart"}),
        anti_entropy_interval_ms=0,
        hinted_handoff_enabled=False,
    )
    assert sorted(set(seen)) == [2, 3]


async def fast_clock_first(running: Simulated) -> list[int]:
    """S14. The second write, by the right clock, comes after one from a clock that is ahead."""
    ahead, right, third = running.inside
    await running.cluster.skew(ahead, offset_ms=SKEW_MS)
    await running.put(ahead, 1)
    await running.put(right, 2)
    return [await running.get(node) for node in (ahead, right, third)]


@pytest.mark.parametrize(("profile", "seen"), [("quorum", 1), ("quorum-repair", 1), ("abd", 2)])
def test_s14_clocks(profile: str, seen: int) -> None:
    assert simulate(fast_clock_first, profile=profile, write_quorum="ALL") == [seen] * 3


async def clock_steps_back(running: Simulated) -> int:
    """One coordinator's clock goes back between two writes of one client."""
    (node, *_) = running.inside
    await running.cluster.skew(node, offset_ms=SKEW_MS)
    await running.put(node, 1)
    await running.cluster.skew(node, offset_ms=0.0)
    await running.put(node, 2)
    seen: int = await running.get(node)
    return seen


def test_a_coordinator_never_goes_back_in_time() -> None:
    assert simulate(clock_steps_back, profile="quorum") == 2
    assert simulate(clock_steps_back, profile="quorum", bugs=frozenset({"coordinator-clock-backwards"})) == 1


async def two_writers(running: Simulated) -> int:
    """The second writer's own counter is behind."""
    first, second, _ = running.inside
    for value in (1, 2, 3):
        await running.put(first, value)
    await running.put(second, 4)
    seen: int = await running.get(first)
    return seen


def test_a_write_asks_for_the_largest_tag_first() -> None:
    assert simulate(two_writers) == 4
    assert simulate(two_writers, bugs=frozenset({"abd-write-skips-query"})) == 3


async def swap_after_a_fast_clock(running: Simulated) -> tuple[bool, int]:
    """A compare-and-set by the right clock follows upon a plain write by one that is ahead."""
    ahead, right, _ = running.inside
    await running.cluster.skew(ahead, offset_ms=SKEW_MS)
    await running.put(ahead, 1)
    swapped: bool = await running.at(right, lambda c: c.compare_and_set("k", 1, 2))
    return swapped, await running.get(right)


def test_a_compare_and_set_that_succeeded_is_there() -> None:
    mixed = frozenset({"lwt-mixed-with-plain-writes"})
    assert simulate(swap_after_a_fast_clock, profile="raft") == (True, 2)
    assert simulate(swap_after_a_fast_clock, profile="raft", bugs=mixed) == (True, 1)


async def doomstone(running: Simulated) -> int | None:
    """A write by the right clock follows upon a deletion by one that is ahead."""
    ahead, right, _ = running.inside
    await running.put(right, 1)
    await running.cluster.skew(ahead, offset_ms=SKEW_MS)
    await running.delete(ahead)
    await running.put(right, 2)
    seen: int | None = await running.get(right)
    return seen


@pytest.mark.parametrize(("profile", "seen"), [("quorum-repair", None), ("abd", 2)])
def test_a_tombstone_from_the_future(profile: str, seen: int | None) -> None:
    assert simulate(doomstone, profile=profile) == seen
