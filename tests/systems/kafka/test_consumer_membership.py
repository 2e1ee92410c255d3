"""aiokafka in groups of the new protocol (KIP-848) against the simulated broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from harness.capabilities import DefiniteFailure, GroupMember, TopicPartition

from .simulated import Simulated, simulate

NEW: dict[str, Any] = {"group.protocol": "consumer", "group.consumer.session.timeout.ms": 3_000}
FIRST, SECOND = TopicPartition("input", 0), TopicPartition("input", 1)


async def member(sim: Simulated, host: str, instance: str | None = None) -> GroupMember:
    async def joins() -> GroupMember:
        found = await sim.log(host).member(group="g", instance=instance)
        await found.subscribe(["input"])
        return found

    joined: GroupMember = await sim.on(host, joins())
    return joined


async def polls_until(sim: Simulated, members: dict[str, GroupMember], reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():
            for host, one in members.items():
                await sim.on(host, one.poll(timeout_ms=100))


async def pair(sim: Simulated) -> dict[str, GroupMember]:
    """Two members with a partition each."""
    first = await member(sim, "k1")
    await polls_until(sim, {"k1": first}, lambda: len(first.assignment()) == 2)
    second = await member(sim, "k2")
    members = {"k1": first, "k2": second}
    await polls_until(sim, members, lambda: all(len(m.assignment()) == 1 for m in members.values()))
    return members


def test_members_share_and_who_stays_inherits() -> None:
    async def work(sim: Simulated) -> None:
        members = await pair(sim)
        first, second = members["k1"], members.pop("k2")
        assert {*first.assignment(), *second.assignment()} == {FIRST, SECOND}
        assert first.membership[0] == second.membership[0] == 3
        await sim.on("k2", second.close())
        await polls_until(sim, members, lambda: len(first.assignment()) == 2)
        assert first.membership[0] == 4

    simulate(work, **NEW)


def test_a_partition_is_given_up_when_its_member_polls() -> None:
    """Until then it may commit what it has read."""

    async def work(sim: Simulated) -> None:
        first = await member(sim, "k1")
        await polls_until(sim, {"k1": first}, lambda: len(first.assignment()) == 2)
        second = await member(sim, "k2")
        await sim.on("k2", second.poll(timeout_ms=2_000))
        assert (len(first.assignment()), second.assignment()) == (2, ())
        await sim.on("k1", first.commit_as(first.membership, {FIRST: 7, SECOND: 8}))
        before = first.membership
        members = {"k1": first, "k2": second}
        await polls_until(sim, members, lambda: len(second.assignment()) == 1)
        (moved,) = second.assignment()
        (kept,) = first.assignment()
        assert await sim.on("k2", second.committed(moved)) == {FIRST: 7, SECOND: 8}[moved]
        await sim.on("k1", first.commit_as(before, {kept: 9}))
        with pytest.raises(DefiniteFailure):
            await sim.on("k1", first.commit_as(before, {moved: 10}))
        assert await sim.on("k2", second.committed(moved)) == {FIRST: 7, SECOND: 8}[moved]

    simulate(work, **NEW)


def test_a_member_that_does_not_poll_gives_everything_up_and_comes_back() -> None:
    async def work(sim: Simulated) -> None:
        members = await pair(sim)
        first = members["k1"]
        awake = {"k2": members["k2"]}
        await polls_until(sim, awake, lambda: len(members["k2"].assignment()) == 2)
        assert first.assignment() == ()
        await polls_until(sim, members, lambda: all(len(m.assignment()) == 1 for m in members.values()))

    impatient: dict[str, Any] = {"max.poll.interval.ms": 4_000}
    simulate(work, **NEW | impatient)


def test_a_member_that_was_cut_off_drops_what_it_had_and_joins_again() -> None:
    async def work(sim: Simulated) -> None:
        members = await pair(sim)
        (had,) = members["k1"].assignment()
        before = members["k1"].membership
        brokers = [node.name for node in sim.cluster.topology.with_role("broker")]
        links = [link for broker in brokers for link in (("k1", broker), (broker, "k1"))]
        for link in links:
            await sim.cluster.cut(*link, how="drop")
        awake = {"k2": members["k2"]}
        await polls_until(sim, awake, lambda: len(members["k2"].assignment()) == 2)
        await sim.on("k2", members["k2"].commit_as(members["k2"].membership, {had: 5}))
        for link in links:
            await sim.cluster.heal(*link)
        with pytest.raises(DefiniteFailure):
            await sim.on("k1", members["k1"].commit_as(before, {had: 4}))
        assert await sim.on("k2", members["k2"].committed(had)) == 5
        await polls_until(sim, members, lambda: all(len(m.assignment()) == 1 for m in members.values()))
        assert members["k1"].membership[0] > before[0]

    simulate(work, **NEW)


def test_a_static_member_takes_up_its_place() -> None:
    async def work(sim: Simulated) -> None:
        first, second = await member(sim, "k1", "one"), await member(sim, "k2", "two")
        members = {"k1": first, "k2": second}
        await polls_until(sim, members, lambda: all(len(m.assignment()) == 1 for m in members.values()))
        had, epoch = second.assignment(), first.membership[0]
        await sim.on("k2", second.close())
        again = await member(sim, "k3", "two")
        await polls_until(sim, {"k3": again}, lambda: len(again.assignment()) == 1)
        assert again.assignment() == had
        assert first.membership[0] == epoch

    simulate(work, **NEW)
