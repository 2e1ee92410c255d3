"""Directed schedules of deletions, siblings, hints and anti-entropy, with and without the mistake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.capabilities import DefiniteFailure
from tests.systems.quorum.simulated import Simulated, simulate

NONE: frozenset[str] = frozenset()
SHORT_GRACE = {"gc_grace_ms": 2_000, "max_hint_window_ms": 0, "hinted_handoff_enabled": False}


async def zombie(running: Simulated) -> Any:
    """S15. A replica is down while a key is deleted and its tombstone grows old. What the key holds when it is back."""
    first, second, third = running.inside
    await running.put(first, "alive")
    await running.recovered()
    await running.cluster.kill(third)
    while True:
        try:
            await running.delete(first)
            break
        except (DefiniteFailure, ConnectionError):
            await asyncio.sleep(0.2)
    await asyncio.sleep(10.0)
    await running.cluster.restart(third)
    await running.recovered()
    return await running.get(second)


@pytest.mark.parametrize(
    ("tombstone_gc", "bugs", "seen"),
    [
        ("time", NONE, "alive"),
        ("repair", NONE, None),
        ("repair", frozenset({"reap-with-primary-down"}), "alive"),
        ("repair", frozenset({"delete-as-absence"}), "alive"),
    ],
)
def test_s15_what_was_deleted_stays_deleted(tombstone_gc: str, bugs: frozenset[str], seen: Any) -> None:
    assert simulate(zombie, bugs=bugs, tombstone_gc=tombstone_gc, **SHORT_GRACE) == seen


async def purged(running: Simulated) -> tuple[int, list[Any]]:
    """How many replicas forgot a deletion that all of them have, and what they hold then."""
    first = running.inside[0]
    await running.put(first, 1)
    await running.delete(first)
    await asyncio.sleep(10.0)
    held = await running.at(first, lambda client: client.replicas("k"), "replicas")
    return len(running.events("tombstone-purged")), list(held.values())


@pytest.mark.parametrize("tombstone_gc", ["time", "repair"])
def test_tombstones_that_everybody_has_are_forgotten(tombstone_gc: str) -> None:
    count, held = simulate(purged, tombstone_gc=tombstone_gc, **SHORT_GRACE)
    assert count >= 3
    assert held == [None] * 3


async def interleaved(running: Simulated) -> int:
    """S16. Two clients put in turn, each with the context of its own last put. The most siblings that there were."""
    nodes = running.inside[0]
    contexts: list[bytes | None] = [None, None]
    most = 0
    for number in range(12):
        context = contexts[number % 2]
        after = await running.at(nodes, lambda c: c.put("cart", number, context), "siblings")  # noqa: B023
        contexts[number % 2] = after.context
        most = max(most, len(after.values))
    return most


def test_s16_siblings_explode_without_dots() -> None:
    assert simulate(interleaved, profile="dvv") == 2
    assert simulate(interleaved, profile="dvv", bugs=frozenset({"sibling-explosion"})) > 5


async def missed_write(running: Simulated) -> list[Any]:
    """A replica is cut off during a write; then the cut heals. What each replica holds in the end."""
    first, second, third = running.inside
    await running.part(third, first, second, *running.outside)
    await asyncio.sleep(10.0)
    await running.put(first, 1)
    await running.join(third, first, second, *running.outside)
    await asyncio.sleep(40.0)
    held = await running.at(first, lambda client: client.replicas("k"), "replicas")
    return [None if held[node] is None else held[node]["value"] for node in running.inside]


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        ({"anti_entropy_interval_ms": 0}, ["1", "1", "1"]),
        ({"hinted_handoff_enabled": False}, ["1", "1", "1"]),
        ({"anti_entropy_interval_ms": 0, "hinted_handoff_enabled": False}, ["1", "1", None]),
    ],
)
def test_a_missed_write_arrives_by_a_hint_or_by_anti_entropy(config: dict[str, Any], seen: list[Any]) -> None:
    assert simulate(missed_write, profile="quorum", **config) == seen
