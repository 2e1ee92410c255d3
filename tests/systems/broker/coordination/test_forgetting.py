"""What groups forget: offsets that expire (KIP-211), groups and offsets that somebody deletes."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from systems.broker.coordinator_log import OFFSETS

from .fake_broker import FakeBroker
from .test_groups import HOME, LEAVE, commit, committed, heartbeat, run, stable

DELETE_GROUPS, OFFSET_DELETE, LIST = 42, 47, 16
SOON: dict[str, Any] = {"offsets.retention.minutes": 0.05, "offsets.retention.check.interval.ms": 500}
"""Three seconds."""


async def leave(broker: FakeBroker, joined: Any) -> None:
    who = {"member_id": joined.member_id, "group_instance_id": None}
    await broker.ask(LEAVE, 3, group_id="g", members=[who])


async def delete_group(broker: FakeBroker, group: str = "g") -> str:
    answer = await broker.ask(DELETE_GROUPS, 2, groups_names=[group])
    return str(answer.results[0].error_code.name)


async def delete_offset(broker: FakeBroker, partition: int = 0) -> str:
    answer = await broker.ask(
        OFFSET_DELETE,
        0,
        group_id="g",
        topics=[{"name": "orders", "partitions": [{"partition_index": partition}]}],
    )
    if answer.error_code.name != "none":
        return str(answer.error_code.name)
    return str(answer.topics[0].partitions[0].error_code.name)


def test_a_group_that_nobody_is_in_forgets_after_a_while() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        await commit(broker, 7, member)
        await asyncio.sleep(8)
        assert await committed(broker) == 7
        await leave(broker, member)
        await asyncio.sleep(2)
        assert await committed(broker) == 7
        await asyncio.sleep(3)
        assert await committed(broker) == -1
        assert (await broker.ask(LIST, 4, states_filter=[])).groups == ()
        await broker.fail_over(OFFSETS, HOME)
        assert await committed(broker) == -1

    run(scenario, **SOON)


def test_a_new_coordinator_knows_since_when_nobody_is_in_it() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        await commit(broker, 7, member)
        await leave(broker, member)
        await asyncio.sleep(2)
        await broker.fail_over(OFFSETS, HOME)
        assert await committed(broker) == 7
        await asyncio.sleep(2)
        assert await committed(broker) == -1

    run(scenario, **SOON)


def test_offsets_without_a_group_count_from_their_commit() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await commit(broker, 7)
        await asyncio.sleep(2)
        await commit(broker, 8)
        await asyncio.sleep(2)
        assert await committed(broker) == 8
        await asyncio.sleep(2)
        assert await committed(broker) == -1

    run(scenario, **SOON)


def test_bug_offsets_expired_early() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        await commit(broker, 7, member)
        for _ in range(5):
            await asyncio.sleep(1)
            assert await heartbeat(broker, member) == "none"
        assert await committed(broker) == -1

    run(scenario, "offsets-expired-early", **SOON)


def test_only_a_group_without_members_can_be_deleted() -> None:
    async def scenario(broker: FakeBroker) -> None:
        assert await delete_group(broker) == "group_id_not_found"
        member = await stable(broker)
        await commit(broker, 7, member)
        assert await delete_group(broker) == "non_empty_group"
        await leave(broker, member)
        assert await delete_group(broker) == "none"
        assert await committed(broker) == -1
        assert await delete_group(broker) == "group_id_not_found"
        await broker.fail_over(OFFSETS, HOME)
        assert await committed(broker) == -1
        assert await delete_group(broker) == "group_id_not_found"

    run(scenario)


def test_offsets_in_use_cannot_be_deleted() -> None:
    async def scenario(broker: FakeBroker) -> None:
        assert await delete_offset(broker) == "group_id_not_found"
        member = await stable(broker)
        await commit(broker, 7, member)
        assert await delete_offset(broker) == "group_subscribed_to_topic"
        await leave(broker, member)
        assert await delete_offset(broker, 99) == "unknown_topic_or_partition"
        assert await delete_offset(broker) == "none"
        assert await committed(broker) == -1

    run(scenario)


@pytest.mark.parametrize(("topics", "kept"), [(["orders"], True), (["other"], False)])
def test_of_a_group_with_members_only_what_none_of_them_reads(topics: list[str], kept: bool) -> None:
    from systems.broker.groups.expiry import expired
    from systems.broker.groups.offsets import Committed
    from systems.broker.groups.shard import Groups
    from systems.broker.groups.state import Member, State

    state = Groups()
    state.offsets.commit("g", ("orders", 0), Committed(7, -1, "", 0, committed_ms=1_000))
    group = state.group("g")
    subscription = struct.pack(">hi", 0, len(topics))
    for topic in topics:
        subscription += struct.pack(">h", len(topic)) + topic.encode()
    group.members["m"] = Member(
        "m",
        client_id="c",
        client_host="h",
        session_timeout_ms=1,
        rebalance_timeout_ms=1,
        protocols=[("range", subscription)],
    )
    group.protocol_type, group.protocol, group.state = "consumer", "range", State.STABLE
    assert expired(state, "g", 10_000, 3_000) == ([] if kept else [("orders", 0)])
