"""The age of a hint is that of its write, whoever keeps it and since when."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.systems.quorum.simulated import Simulated, simulate

BY_HINTS_ALONE = {"anti_entropy_interval_ms": 0, "read_repair": "none", "profile": "quorum"}


async def given_up_late(running: Simulated) -> list[Any]:
    """A coordinator waits for a replica that it does not reach. Meanwhile others delete the key, and forget it."""
    outside, third = running.outside[0], running.inside[2]
    await running.part(outside, third)
    await running.put(outside, 1)
    await running.delete(running.inside[0])
    await asyncio.sleep(2.5)
    assert len(running.events("tombstone-purged")) == 3
    assert running.events("hint-stored")
    await running.join(outside, third)
    await asyncio.sleep(5.0)
    held = await running.at(third, lambda client: client.replicas("k"), "replicas")
    return list(held.values())


def test_a_hint_that_is_stored_late_is_as_old_as_its_write() -> None:
    config = {"gc_grace_ms": 500, "max_hint_window_ms": 500, **BY_HINTS_ALONE}
    assert simulate(given_up_late, **config) == [None] * 3


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


def test_a_hint_that_is_handed_on_does_not_become_younger() -> None:
    on, expired = simulate(handed_on, gc_grace_ms=8_000, **BY_HINTS_ALONE)
    assert on == expired == 1


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
