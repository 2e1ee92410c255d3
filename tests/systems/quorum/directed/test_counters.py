"""Directed schedules of counters, with and without the mistake."""

from __future__ import annotations

import asyncio

import pytest

from harness.capabilities import DefiniteFailure
from tests.systems.quorum.simulated import Simulated, simulate

NONE: frozenset[str] = frozenset()


async def at_once(running: Simulated) -> int:
    """Two increments reach one replica together."""
    node = running.inside[0]
    await asyncio.gather(*(running.at(node, lambda c: c.add("k", 1), "counters") for _ in range(2)))
    return await running.at(node, lambda c: c.value("k"), "counters")


async def amnesia(running: Simulated) -> int:
    """A replica loses an increment that the others have, and counts again."""
    first, second, _ = running.inside
    await running.at(first, lambda c: c.add("k", 1), "counters")
    await running.cluster.power_fail(first)
    await running.cluster.restart(first)
    while True:
        try:
            await running.at(first, lambda c: c.add("k", 1), "counters")
            break
        except (DefiniteFailure, OSError):
            await asyncio.sleep(0.1)
    return await running.at(second, lambda c: c.value("k"), "counters")


@pytest.mark.parametrize(("bugs", "value"), [(NONE, 2), (frozenset({"pn-nonatomic-local-inc"}), 1)])
def test_increments_of_one_replica(bugs: frozenset[str], value: int) -> None:
    assert simulate(at_once, bugs=bugs) == value


@pytest.mark.parametrize(("bugs", "value"), [(NONE, 2), (frozenset({"actor-reuse-after-amnesia"}), 1)])
def test_a_node_that_lost_its_data_counts_under_another_name(bugs: frozenset[str], value: int) -> None:
    config = {"commitlog_sync": "periodic", "commitlog_sync_period_ms": 60_000, "anti_entropy_interval_ms": 0}
    assert simulate(amnesia, bugs=bugs, **config) == value
