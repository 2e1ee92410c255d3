"""Nodes that come, go, are replaced or lose their disk: nothing that was acknowledged is lost, unless by a mistake."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.capabilities import DefiniteFailure
from tests.systems.quorum.simulated import Simulated, simulate

NONE: frozenset[str] = frozenset()
KEYS = [f"x{number}" for number in range(30)]
UNMENDED = {
    "profile": "quorum",
    "read_repair": "none",
    "anti_entropy_interval_ms": 0,
    "hinted_handoff_enabled": False,
}


async def fill(running: Simulated, node: str) -> None:
    async def work(client: Any) -> None:
        for key in KEYS:
            await client.put(key, key)

    await running.at(node, work)


async def found(running: Simulated, node: str) -> list[Any]:
    async def work(client: Any) -> list[Any]:
        return [(await client.get(key)).value for key in KEYS]

    return await running.at(node, work)


async def comings_and_goings(running: Simulated) -> list[bool]:
    await fill(running, "n1")
    evidence = [
        await running.change("join", "n6"),
        await running.change("leave", "n2"),
        await running.change("replace", "n7", "n3"),
        await running.change("leave", "n6"),
        await running.change("join", "n2"),
    ]
    assert all(told.verified for told in evidence)
    await running.recovered()
    return [await found(running, node) == KEYS for node in ("n1", "n2", "n7")]


@pytest.mark.parametrize("profile", ["abd", "quorum", "eventual", "raft"])
def test_nothing_is_lost_when_nodes_come_and_go(profile: str) -> None:
    assert simulate(comings_and_goings, spares=2, profile=profile) == [True] * 3


async def refused(running: Simulated) -> list[bool | None]:
    return [(await running.change("leave", "n1")).verified]


def test_nobody_leaves_where_every_node_is_needed() -> None:
    assert simulate(refused, nodes=3) == [False]


async def replaced_with_a_laggard(running: Simulated) -> Any:
    """One of three lacks a write. The one of the others that is asked last is replaced; then the other is cut off."""
    lagging, *others = sorted(running.inside)
    lost, left = others
    await running.part(lagging, *others, *running.outside)
    await asyncio.sleep(10.0)
    await running.put(left, 1)
    await running.join(lagging, *others, *running.outside)
    await asyncio.sleep(10.0)
    assert (await running.change("replace", "n6", lost)).verified
    await running.part(left, lagging, "n6", *running.outside)
    await asyncio.sleep(10.0)
    return await running.get(lagging)


@pytest.mark.parametrize(
    ("bugs", "seen"), [(NONE, 1), (frozenset({"stream-from-wrong-replica"}), None)], ids=["right", "wrong"]
)
def test_a_new_owner_fetches_from_a_quorum(bugs: frozenset[str], seen: Any) -> None:
    assert simulate(replaced_with_a_laggard, bugs=bugs, spares=1, **UNMENDED) == seen


async def left_with_a_laggard(running: Simulated) -> Any:
    """One of three lacks a write, one leaves. Then the third is cut off."""
    leaving, lagging, left = sorted(running.inside)
    await running.part(lagging, leaving, left, *running.outside)
    await asyncio.sleep(10.0)
    await running.put(left, 1)
    await running.join(lagging, leaving, left, *running.outside)
    await asyncio.sleep(10.0)
    assert (await running.change("leave", leaving)).verified
    await running.part(left, lagging, *running.outside)
    await asyncio.sleep(10.0)
    return await running.get(lagging)


@pytest.mark.parametrize(
    ("bugs", "seen"), [(NONE, 1), (frozenset({"cleanup-before-handoff"}), None)], ids=["right", "wrong"]
)
def test_nothing_is_dropped_before_it_was_handed_over(bugs: frozenset[str], seen: Any) -> None:
    assert simulate(left_with_a_laggard, bugs=bugs, **UNMENDED) == seen


async def two_disks_lost(running: Simulated) -> Any:
    """One after the other; then the third replica is cut off."""
    first, second, third = running.inside
    await running.put(first, 1)
    for node in (first, second):
        await running.wiped(node)
        await asyncio.sleep(10.0)
        await running.recovered()
    await running.part(third, first, second, *running.outside)
    await asyncio.sleep(10.0)
    return await running.get(first)


@pytest.mark.parametrize(
    ("bugs", "seen"), [(NONE, 1), (frozenset({"amnesiac-replica-answers"}), None)], ids=["right", "wrong"]
)
def test_a_node_without_its_disk_is_rebuilt_before_it_answers(bugs: frozenset[str], seen: Any) -> None:
    assert simulate(two_disks_lost, bugs=bugs, **UNMENDED) == seen


async def behind(running: Simulated) -> tuple[list[Any], int]:
    """A node is cut off while the ring changes, and asks by its old ring when it is back."""
    await fill(running, "n1")
    await running.part("n5", "n1", "n2", "n3", "n4", "n6")
    await running.change("join", "n6")
    await running.join("n5", "n1", "n2", "n3", "n4", "n6")
    while True:
        try:
            seen = await found(running, "n5")
            break
        except (DefiniteFailure, ConnectionError):
            await asyncio.sleep(0.1)
    await running.recovered()
    return seen, len(running.events("ring-refused"))


def test_whoever_is_behind_is_told_and_asks_again() -> None:
    seen, _ = simulate(behind, spares=1)
    assert seen == KEYS


async def dies_while_it_joins(running: Simulated, *, wiped: bool) -> list[Any]:
    await fill(running, "n1")
    await running.cluster.launch("n6")
    joining = asyncio.ensure_future(running.change("join", "n6"))
    await asyncio.sleep(0.45)
    await running.cluster.kill("n6")
    if wiped:
        await running.cluster.wipe("n6")
    await asyncio.sleep(5.0)
    await running.cluster.restart("n6")
    assert (await joining).verified
    await running.recovered()
    return await found(running, "n6")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("wiped", [False, True])
def test_who_dies_while_it_joins_goes_on(wiped: bool, seed: int) -> None:
    assert simulate(lambda running: dies_while_it_joins(running, wiped=wiped), spares=1, seed=seed) == KEYS


async def full(running: Simulated) -> tuple[int, Any]:
    """A disk takes nothing more; then there is room again."""
    first, second, _ = running.inside
    await running.put(first, 1)
    await running.cluster.fill_disk(second, full=True)
    await running.put(first, 2)
    await asyncio.sleep(5.0)
    halted = len(running.events("disk-failed"))
    assert not running.cluster.running(second)
    await running.cluster.fill_disk(second, full=False)
    await running.cluster.restart(second)
    await running.recovered()
    return halted, await running.get(second)


def test_a_node_whose_disk_fails_halts() -> None:
    assert simulate(full) == (1, 2)


async def deleted_in_the_future(running: Simulated) -> Any:
    """A deletion by a clock that is ahead; then a write by the right one."""
    ahead, right, _ = running.inside
    await running.cluster.skew(ahead, offset_ms=10_000.0)
    await running.delete(ahead)
    await running.put(right, 1)
    return await running.get(right)


@pytest.mark.parametrize(("profile", "seen"), [("quorum-repair", None), ("abd", 1)])
def test_a_tombstone_from_the_future_hides_writes_of_clocks_only(profile: str, seen: Any) -> None:
    assert simulate(deleted_in_the_future, profile=profile, write_quorum="ALL") == seen


async def left_and_another_lost(running: Simulated) -> list[Any]:
    """One node leaves, and at once another one is cut off."""
    names = [node.name for node in running.cluster.topology.founders]
    await fill(running, "n1")
    assert (await running.change("leave", "n2")).verified
    await running.part("n3", *(name for name in names if name not in ("n2", "n3")))
    await asyncio.sleep(5.0)
    return await found(running, "n1")


def test_who_has_left_is_not_needed_for_consensus() -> None:
    assert simulate(left_and_another_lost, profile="raft") == KEYS
