"""The group coordinator: generations, fencing, sessions, and what survives a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.coordinator_log import OFFSETS, coordinator_partition

from .fake_broker import FakeBroker, virtually

JOIN, HEARTBEAT, LEAVE, SYNC, DESCRIBE, LIST, COMMIT, FETCH = 11, 12, 13, 14, 15, 16, 8, 9
HOME = coordinator_partition("g", 2)

Scenario = Callable[[FakeBroker], Awaitable[None]]


def run(scenario: Scenario, *bugs: str, **config: Any) -> None:
    async def main() -> None:
        broker = FakeBroker(frozenset(bugs), **config)
        await broker.start()
        try:
            await scenario(broker)
        finally:
            await broker.stop()

    virtually(main())


async def join(
    broker: FakeBroker, member_id: str = "", *, client: str = "c", session_ms: int = 10_000, version: int = 5
) -> Any:
    """As a client does: the first answer only gives the member id."""
    fields: dict[str, Any] = {
        "group_id": "g",
        "session_timeout": messages.milliseconds(session_ms),
        "rebalance_timeout": messages.milliseconds(session_ms),
        "member_id": member_id,
        "protocol_type": "consumer",
        "protocols": [{"name": "range", "metadata": client.encode()}],
    }
    answer = await broker.ask(JOIN, version, client_id=client, **fields)
    if answer.error_code is ErrorCode.member_id_required:
        fields["member_id"] = answer.member_id
        answer = await broker.ask(JOIN, version, client_id=client, **fields)
    return answer


async def sync(broker: FakeBroker, joined: Any, **assignments: bytes) -> Any:
    return await broker.ask(
        SYNC,
        3,
        group_id="g",
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        group_instance_id=None,
        assignments=[{"member_id": m, "assignment": a} for m, a in assignments.items()],
    )


async def stable(broker: FakeBroker, session_ms: int = 10_000) -> Any:
    """A group of one."""
    joined = await join(broker, session_ms=session_ms)
    assert (await sync(broker, joined, **{joined.member_id: b"all"})).assignment == b"all"
    return joined


async def heartbeat(broker: FakeBroker, joined: Any) -> str:
    answer = await broker.ask(
        HEARTBEAT, 1, group_id="g", generation_id=joined.generation_id, member_id=joined.member_id
    )
    return str(answer.error_code.name)


async def commit(broker: FakeBroker, offset: int, joined: Any = None) -> str:
    answer = await broker.ask(
        COMMIT,
        8,
        group_id="g",
        generation_id_or_member_epoch=joined.generation_id if joined else -1,
        member_id=joined.member_id if joined else "",
        topics=[
            {
                "name": "orders",
                "partitions": [{"partition_index": 0, "committed_offset": offset, "committed_metadata": "m"}],
            }
        ],
    )
    return str(answer.topics[0].partitions[0].error_code.name)


async def committed(broker: FakeBroker, version: int = 5) -> Any:
    topics = [{"name": "orders", "partition_indexes": [0]}]
    if version >= 8:
        answer = await broker.ask(
            FETCH, version, groups=[{"group_id": "g", "topics": topics}], require_stable=False
        )
        return answer.groups[0].topics[0].partitions[0].committed_offset
    answer = await broker.ask(FETCH, version, group_id="g", topics=topics, require_stable=False)
    return answer.topics[0].partitions[0].committed_offset


def test_members_of_one_generation_share_the_leaders_assignment() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await stable(broker)
        assert (first.generation_id, first.leader) == (1, first.member_id)
        second_joins = asyncio.ensure_future(join(broker, client="d"))
        await broker.settle()
        assert await heartbeat(broker, first) == "rebalance_in_progress"
        first, second = await asyncio.gather(join(broker, first.member_id), second_joins)
        assert first.generation_id == second.generation_id == 2
        assert [m.metadata for m in first.members] == [b"c", b"d"] and second.members == ()
        follower = asyncio.ensure_future(sync(broker, second))
        leader = await sync(broker, first, **{first.member_id: b"0", second.member_id: b"1"})
        assert (leader.assignment, (await follower).assignment) == (b"0", b"1")
        assert await heartbeat(broker, first) == await heartbeat(broker, second) == "none"
        assert [e["generation"] for e in broker.emitted("group-generation")] == [1, 2]

    run(scenario)


def test_who_does_not_rejoin_in_time_is_out() -> None:
    async def scenario(broker: FakeBroker) -> None:
        silent = await stable(broker, session_ms=50)
        second = await join(broker, client="d")
        assert (second.generation_id, len(second.members)) == (2, 1)
        assert await heartbeat(broker, silent) == "unknown_member_id"
        assert await commit(broker, 5, silent) == "unknown_member_id"

    run(scenario)


def test_a_silent_member_is_expelled() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker, session_ms=60)
        for _ in range(3):
            await asyncio.sleep(0.03)
            assert await heartbeat(broker, member) == "none"
        await asyncio.sleep(0.2)
        assert await heartbeat(broker, member) == "unknown_member_id"
        assert broker.emitted("group-member-expired") == [{"group": "g", "member": member.member_id}]

    run(scenario)


def test_a_member_that_leaves_starts_a_rebalance() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        left = await broker.ask(LEAVE, 1, group_id="g", member_id=member.member_id)
        again = await broker.ask(LEAVE, 1, group_id="g", member_id=member.member_id)
        assert (left.error_code.name, again.error_code.name) == ("none", "unknown_member_id")
        assert (await broker.ask(LIST, 4)).groups[0].group_state == "Empty"
        assert (await join(broker)).generation_id == 3

    run(scenario)


def test_only_the_current_generation_commits() -> None:
    async def scenario(broker: FakeBroker) -> None:
        assert await commit(broker, 1) == "none"
        old = await stable(broker)
        assert await commit(broker, 2) == "unknown_member_id"
        assert await commit(broker, 3, old) == "none"
        new = asyncio.ensure_future(join(broker, old.member_id))
        await new
        assert await commit(broker, 4, old) == "illegal_generation"
        assert await commit(broker, 4, new.result()) == "rebalance_in_progress"
        assert await committed(broker) == 3
        assert [e["error"] for e in broker.emitted("commit-fenced")] == [
            "unknown_member_id",
            "illegal_generation",
            "rebalance_in_progress",
        ]

    run(scenario)


def test_a_member_may_commit_what_it_is_about_to_lose() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        newcomer = asyncio.ensure_future(join(broker, client="d"))
        await broker.settle()
        assert await commit(broker, 7, member) == "none"
        newcomer.cancel()

    run(scenario)


def test_a_new_coordinator_knows_offsets_and_members() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        await commit(broker, 7, member)
        await broker.fail_over(OFFSETS, HOME)
        assert await committed(broker) == await committed(broker, 8) == 7
        assert await heartbeat(broker, member) == "none"
        assert await commit(broker, 8, member) == "none"

    run(scenario)


def test_a_coordinator_that_lost_its_role_answers_what_it_had_parked() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await stable(broker)
        parked = asyncio.ensure_future(join(broker, client="d"))
        await broker.settle()
        await broker.fail_over(OFFSETS, HOME)
        assert (await parked).error_code is ErrorCode.not_coordinator

    run(scenario)


def test_an_assignment_that_cannot_be_stored_is_not_handed_out() -> None:
    async def scenario(broker: FakeBroker) -> None:
        joined = await join(broker)
        broker.partitions[OFFSETS, HOME].fail_next = (ErrorCode.not_enough_replicas, False)
        answer = await sync(broker, joined, **{joined.member_id: b"all"})
        assert (answer.error_code, answer.assignment) == (ErrorCode.coordinator_not_available, b"")
        assert await heartbeat(broker, joined) == "rebalance_in_progress"

    run(scenario)


def test_offsets_are_acknowledged_only_when_they_are_in_the_log() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await commit(broker, 1)
        broker.partitions[OFFSETS, HOME].fail_next = (ErrorCode.not_enough_replicas, False)
        assert await commit(broker, 2) == "coordinator_not_available"
        assert await committed(broker) == 1
        broker.partitions[OFFSETS, HOME].fail_next = (ErrorCode.request_timed_out, True)
        assert await commit(broker, 3) == "coordinator_not_available"
        await broker.settle()
        assert await committed(broker) == 3

    run(scenario)


@pytest.mark.parametrize("loading", [True, False])
def test_an_offset_is_never_made_up(loading: bool) -> None:
    async def scenario(broker: FakeBroker) -> None:
        if loading:
            partition = broker.partitions[OFFSETS, HOME]
            await commit(broker, 4)
            partition.high_watermark = 0
            await broker.fail_over(OFFSETS, HOME)
        else:
            broker._listeners[OFFSETS][1](HOME)
        answer = await broker.ask(FETCH, 5, group_id="g", topics=None)
        code = ErrorCode.coordinator_load_in_progress if loading else ErrorCode.not_coordinator
        assert (answer.error_code, answer.topics) == (code, ())
        old = await broker.ask(FETCH, 1, group_id="g", topics=[{"name": "orders", "partition_indexes": [0]}])
        assert old.topics[0].partitions[0].error_code is code

    run(scenario)


def test_newcomers_speak_a_common_protocol_or_stay_out() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await stable(broker)
        answer = await broker.ask(
            JOIN,
            2,
            group_id="g",
            session_timeout=messages.milliseconds(1000),
            rebalance_timeout=messages.milliseconds(1000),
            member_id="",
            protocol_type="consumer",
            protocols=[{"name": "sticky", "metadata": b""}],
        )
        assert answer.error_code is ErrorCode.inconsistent_group_protocol

    run(scenario)


def test_a_group_is_described() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        (group,) = (await broker.ask(DESCRIBE, 3, groups=["g"], include_authorized_operations=False)).groups
        assert (group.group_state, group.protocol_data) == ("Stable", "range")
        assert [(m.member_id, m.member_assignment) for m in group.members] == [(member.member_id, b"all")]

    run(scenario)


def test_bug_generation_not_fenced() -> None:
    async def scenario(broker: FakeBroker) -> None:
        old = await stable(broker)
        await join(broker, old.member_id)
        assert await commit(broker, 4, old) == "none"

    run(scenario, "generation-not-fenced")
