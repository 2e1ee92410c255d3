"""Merkle trees: what one replica missed the others bring to it, with and without the mistake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.systems.quorum.simulated import Simulated, simulate

NONE: frozenset[str] = frozenset()
BY_TREES_ALONE = {
    "profile": "quorum",
    "hinted_handoff_enabled": False,
    "read_repair": "none",
    "anti_entropy_interval_ms": 300,
}


async def missed(running: Simulated, *, deleted_before: bool) -> bool:
    """A replica misses a deletion. Whether all three hold the same once it is back."""
    first, second, third = running.inside
    await running.put(first, 1)
    if deleted_before:
        await running.delete(first)
    await running.recovered()
    await running.part(third, first, second, *running.outside)
    await asyncio.sleep(4.0)
    await running.delete(first)
    await running.join(third, first, second, *running.outside)
    await asyncio.sleep(4.0)
    held: dict[str, Any] = await running.at(first, lambda client: client.replicas("k"), "replicas")
    return held[first] == held[second] == held[third]


@pytest.mark.parametrize(
    ("bug", "deleted_before", "same"),
    [
        (None, False, True),
        (None, True, True),
        ("merkle-stale-tree", False, False),
        ("merkle-hash-omits-metadata", False, True),
        ("merkle-hash-omits-metadata", True, False),
    ],
)
def test_a_missed_deletion_is_found(bug: str | None, deleted_before: bool, same: bool) -> None:
    bugs = NONE if bug is None else frozenset({bug})
    found = simulate(
        lambda running: missed(running, deleted_before=deleted_before), bugs=bugs, **BY_TREES_ALONE
    )
    assert found is same
