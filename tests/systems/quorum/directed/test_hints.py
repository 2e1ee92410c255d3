"""Hints: how old they are, when they go, and at what pace, with and without the mistake."""

from __future__ import annotations

import asyncio

import pytest

from tests.systems.quorum.simulated import Simulated, simulate

NONE: frozenset[str] = frozenset()
BY_HINTS_ALONE = {"anti_entropy_interval_ms": 0, "read_repair": "none", "profile": "quorum"}


async def holders(running: Simulated) -> list[bool]:
    """Which of the three have anything of the key."""
    held = await running.at(running.inside[0], lambda client: client.replicas("k"), "replicas")
    return [held[node] is not None for node in running.inside]


async def given_up_late(running: Simulated) -> list[bool]:
    """A coordinator waits for a replica that it does not reach. Meanwhile others delete the key, and forget it. Who has
    it when they meet again."""
    outside, third = running.outside[0], running.inside[2]
    await running.part(outside, third)
    await running.put(outside, 1)
    await running.delete(running.inside[0])
    await asyncio.sleep(2.5)
    assert len(running.events("tombstone-purged")) == 3
    assert running.events("hint-stored")
    await running.join(outside, third)
    await asyncio.sleep(5.0)
    return await holders(running)


@pytest.mark.parametrize(
    ("bugs", "seen"),
    [(NONE, False), (frozenset({"hint-replay-after-tombstone-gc"}), True)],
    ids=["right", "wrong"],
)
def test_a_hint_that_is_stored_late_is_as_old_as_its_write(bugs: frozenset[str], seen: bool) -> None:
    config = {"gc_grace_ms": 500, "max_hint_window_ms": 500, **BY_HINTS_ALONE}
    assert simulate(given_up_late, bugs=bugs, **config) == [False, False, seen]


async def sent_and_lost(running: Simulated) -> list[bool]:
    """A hint is on its way when its holder dies; the bytes never arrive. Who has the key when all are back."""
    outside, third = running.outside[0], running.inside[2]

    async def late(latency_ms: float) -> None:
        await running.cluster.delay_messages(
            outside, third, kind="store", latency_ms=latency_ms, jitter_ms=0.0
        )

    await running.cluster.kill(third)
    await running.put(outside, 1)
    await late(60_000.0)
    await running.cluster.restart(third)
    await asyncio.sleep(5.0)
    await running.cluster.kill(outside)
    await late(0.0)
    await running.cluster.restart(outside)
    await running.recovered()
    return await holders(running)


@pytest.mark.parametrize(
    ("bugs", "seen"),
    [(NONE, True), (frozenset({"hint-deleted-before-ack"}), False)],
    ids=["right", "wrong"],
)
def test_a_hint_stays_until_its_target_has_it(bugs: frozenset[str], seen: bool) -> None:
    assert simulate(sent_and_lost, bugs=bugs, **BY_HINTS_ALONE) == [True, True, seen]


async def handed_on(running: Simulated) -> tuple[int, int]:
    """Who keeps a hint leaves. How many hints were handed on, and how many expired within the time that a new one has."""
    outside, third = running.outside[0], running.inside[2]
    for node in (*running.inside[:2], *running.outside):
        await running.cluster.delay_messages(node, third, kind="store", latency_ms=5_000.0, jitter_ms=0.0)
    await running.put(outside, 1)
    await asyncio.sleep(4.0)
    assert (await running.change("leave", outside)).verified
    await asyncio.sleep(5.0)
    return len(running.events("hint-handed-on")), len(running.events("hint-expired"))


@pytest.mark.parametrize(
    ("bugs", "count"), [(NONE, 1), (frozenset({"decommission-drops-hints"}), 0)], ids=["right", "wrong"]
)
def test_a_hint_is_handed_on_and_does_not_become_younger(bugs: frozenset[str], count: int) -> None:
    assert simulate(handed_on, bugs=bugs, gc_grace_ms=8_000, **BY_HINTS_ALONE) == (count, count)


async def flooded(running: Simulated) -> tuple[int, int]:
    """Twenty hints wait for a node that is back. How many it got within three seconds, and in the end."""
    outside, third = running.outside[0], running.inside[2]
    await running.cluster.kill(third)
    for number in range(20):
        await running.put(outside, number)
    await running.cluster.restart(third)
    await asyncio.sleep(3.0)
    early = len(running.events("hint-replayed"))
    await running.recovered()
    return early, len(running.events("hint-replayed"))


def test_hints_are_delivered_at_the_pace_that_was_asked_for() -> None:
    early, all_of_them = simulate(flooded, hinted_handoff_per_second=4, **BY_HINTS_ALONE)
    assert 3 <= early <= 12
    assert all_of_them == 20
    assert simulate(flooded, **BY_HINTS_ALONE) == (20, 20)
