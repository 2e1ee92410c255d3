"""The coordinator of the new protocol's groups (KIP-848): sessions, revocations, failovers, appends that fail."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.coordinator_log import OFFSETS

from .fake_broker import FakeBroker
from .test_forgetting import SOON, delete_group, delete_offset
from .test_groups import COMMIT, HOME, LIST, committed, join, run, stable

BEAT, DESCRIBE = 68, 69
ORDERS = uuid.UUID(bytes=b"orders".ljust(16))
BRIEF: dict[str, Any] = {"group.consumer.session.timeout.ms": 3_000}


async def beat(
    broker: FakeBroker,
    member: str,
    epoch: int,
    *,
    owned: Sequence[int] | None = None,
    instance: str | None = None,
    rebalance_ms: int = 5_000,
    topics: Sequence[str] = ("orders",),
) -> Any:
    """Tells all where it says what it owns, and where it joins."""
    if epoch == 0:
        owned = ()
    says = owned is not None
    held = [{"topic_id": ORDERS, "partitions": list(owned)}] if owned else []
    return await broker.ask(
        BEAT,
        1,
        group_id="g",
        member_id=member,
        member_epoch=epoch,
        instance_id=instance,
        rebalance_timeout=messages.milliseconds(rebalance_ms if says else -1),
        subscribed_topic_names=list(topics) if says else None,
        topic_partitions=held if says else None,
    )


def told(answer: Any) -> tuple[int, list[int] | None]:
    """Epoch and partitions; None where the assignment is as it was."""
    assert answer.error_code is ErrorCode.none, answer.error_message
    if answer.assignment is None:
        return answer.member_epoch, None
    return answer.member_epoch, [p for t in answer.assignment.topic_partitions for p in t.partitions]


async def refused(broker: FakeBroker, member: str, epoch: int, **more: Any) -> str:
    return str((await beat(broker, member, epoch, **more)).error_code.name)


async def state(broker: FakeBroker) -> tuple[str, list[tuple[str, int]]]:
    """The group's, and its members with their epochs."""
    answer = await broker.ask(DESCRIBE, 1, group_ids=["g"], include_authorized_operations=False)
    (group,) = answer.groups
    return group.group_state, [(m.member_id, m.member_epoch) for m in group.members]


async def commit(broker: FakeBroker, offset: int, member: str, epoch: int, partition: int = 0) -> str:
    places = [{"partition_index": partition, "committed_offset": offset, "committed_metadata": ""}]
    answer = await broker.ask(
        COMMIT,
        9,
        group_id="g",
        generation_id_or_member_epoch=epoch,
        member_id=member,
        topics=[{"name": "orders", "partitions": places}],
    )
    return str(answer.topics[0].partitions[0].error_code.name)


async def pair(broker: FakeBroker) -> int:
    """Member a has everything and is to give something up, b waits. What a keeps all the while."""
    assert told(await beat(broker, "a", 0)) == (2, [0, 1, 2])
    assert told(await beat(broker, "b", 0)) == (3, [])
    epoch, kept = told(await beat(broker, "a", 2, owned=[0, 1, 2]))
    assert epoch == 2 and kept is not None and len(kept) == 2
    return kept[0]


def test_a_member_that_is_silent_for_a_session_is_expelled() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0)
        await asyncio.sleep(2)
        await beat(broker, "a", 2)
        await asyncio.sleep(2)
        assert (await state(broker))[0] == "Stable"
        await asyncio.sleep(2)
        assert await state(broker) == ("Empty", [])
        assert broker.emitted("group-member-expired") == [{"group": "g", "member": "a"}]
        assert await refused(broker, "a", 2) == "unknown_member_id"
        assert await commit(broker, 5, "a", 2) == "unknown_member_id"

    run(scenario, **BRIEF)


def test_what_a_silent_member_had_is_free_only_then() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await pair(broker)
        for _ in range(2):
            await asyncio.sleep(1.4)
            assert told(await beat(broker, "b", 3)) == (3, None)
        await asyncio.sleep(0.5)
        assert told(await beat(broker, "b", 3)) == (4, [0, 1, 2])

    run(scenario, **BRIEF)


def test_a_member_that_does_not_give_up_in_time_is_expelled_though_it_lives() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0, rebalance_ms=4_000)
        await beat(broker, "b", 0)
        await beat(broker, "a", 2)
        for _ in range(3):
            await asyncio.sleep(1.2)
            assert told(await beat(broker, "b", 3))[1] is None
            assert told(await beat(broker, "a", 2, owned=[0, 1, 2], rebalance_ms=4_000))[0] == 2
        await asyncio.sleep(0.6)
        assert await refused(broker, "a", 2) == "unknown_member_id"
        assert told(await beat(broker, "b", 3)) == (4, [0, 1, 2])

    run(scenario, **BRIEF)


def test_a_rebalance_that_ends_in_time_expels_nobody() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await pair(broker)
        assert told(await beat(broker, "a", 2, owned=[0, 1])) == (3, [0, 1])
        for _ in range(8):
            await asyncio.sleep(1)
            await beat(broker, "a", 3)
            await beat(broker, "b", 3)
        assert await state(broker) == ("Stable", [("a", 3), ("b", 3)])

    run(scenario, **BRIEF)


def test_the_next_coordinator_goes_on_in_the_middle_of_a_rebalance() -> None:
    async def scenario(broker: FakeBroker) -> None:
        kept = await pair(broker)
        await broker.fail_over(OFFSETS, HOME)
        assert await state(broker) == ("Reconciling", [("a", 2), ("b", 3)])
        assert told(await beat(broker, "b", 3)) == (3, None)
        assert await commit(broker, 5, "a", 2, kept) == "none"
        assert told(await beat(broker, "a", 2, owned=[0, 1]))[0] == 3
        assert told(await beat(broker, "b", 3)) == (3, [2])
        await broker.fail_over(OFFSETS, HOME)
        assert await state(broker) == ("Stable", [("a", 3), ("b", 3)])

    run(scenario)


def test_the_next_coordinator_gives_everybody_a_full_session() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await pair(broker)
        await asyncio.sleep(2)
        await broker.fail_over(OFFSETS, HOME)
        await asyncio.sleep(2)
        assert len((await state(broker))[1]) == 2
        await asyncio.sleep(2)
        assert await state(broker) == ("Empty", [])

    run(scenario, **BRIEF)


@pytest.mark.parametrize("after", [False, True])
def test_nothing_is_told_that_was_not_written(after: bool) -> None:
    async def scenario(broker: FakeBroker) -> None:
        code = ErrorCode.request_timed_out if after else ErrorCode.not_enough_replicas
        await beat(broker, "a", 0)
        broker.partitions[OFFSETS, HOME].fail_next = (code, after)
        assert await refused(broker, "b", 0) == "coordinator_not_available"
        await broker.settle()
        assert len((await state(broker))[1]) == (2 if after else 1), "as the log has it"
        assert told(await beat(broker, "b", 0)) == (3, [])

    run(scenario)


def test_a_session_whose_end_cannot_be_written_ends_later() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0)
        broker.partitions[OFFSETS, HOME].fail_next = (ErrorCode.not_enough_replicas, False)
        await asyncio.sleep(3.5)
        assert (await state(broker))[1] == [("a", 2)]
        await asyncio.sleep(3)
        assert await state(broker) == ("Empty", [])

    run(scenario, **BRIEF)


def test_two_that_join_at_once_are_both_in() -> None:
    async def scenario(broker: FakeBroker) -> None:
        answers = await asyncio.gather(*(beat(broker, name, 0) for name in "abc"))
        assert [answer.member_epoch for answer in answers] == [2, 3, 4]
        assert (await state(broker))[1] == [("a", 2), ("b", 3), ("c", 4)]

    run(scenario)


def test_a_static_member_keeps_its_place_until_its_session_ends() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0, instance="i")
        await beat(broker, "a", -2, instance="i")
        await asyncio.sleep(2)
        assert told(await beat(broker, "b", 0, instance="i")) == (2, [0, 1, 2])
        await beat(broker, "b", -2, instance="i")
        await broker.fail_over(OFFSETS, HOME)
        assert (await state(broker))[1] == [("b", -2)]
        await asyncio.sleep(4)
        assert await state(broker) == ("Empty", [])

    run(scenario, **BRIEF)


def test_a_commit_under_an_old_epoch_is_refused_and_told() -> None:
    async def scenario(broker: FakeBroker) -> None:
        kept = await pair(broker)
        gone = 2 if kept != 2 else 0
        assert await commit(broker, 5, "a", 2, gone) == "none"
        await beat(broker, "a", 2, owned=[0, 1])
        assert await commit(broker, 6, "a", 2, kept) == "none", "it has had it ever since"
        assert await commit(broker, 7, "a", 2, gone) == "stale_member_epoch"
        assert [e["error"] for e in broker.emitted("commit-fenced")] == ["stale_member_epoch"]

    run(scenario)


def test_the_mistake_of_not_fencing_takes_a_commit_under_an_old_epoch() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await pair(broker)
        await beat(broker, "a", 2, owned=[0, 1])
        assert await commit(broker, 7, "a", 2, 2) == "none"
        assert await commit(broker, 8, "stranger", 99) == "none"

    run(scenario, "generation-not-fenced")


def test_the_mistake_of_assigning_before_revocation_gives_what_another_still_has() -> None:
    async def scenario(broker: FakeBroker) -> None:
        assert told(await beat(broker, "a", 0)) == (2, [0, 1, 2])
        assert told(await beat(broker, "b", 0)) == (3, [2])

    run(scenario, "assign-before-revoke-ack")


def test_a_group_is_of_one_protocol_at_a_time() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        assert await refused(broker, "a", 0) == "group_id_not_found"
        await broker.ask(13, 1, group_id="g", member_id=member.member_id)
        assert told(await beat(broker, "a", 0))[0] == 2
        assert (await join(broker)).error_code is ErrorCode.inconsistent_group_protocol
        await broker.fail_over(OFFSETS, HOME)
        listed = (await broker.ask(LIST, 5, states_filter=[], types_filter=["consumer"])).groups
        assert [(g.group_id, g.group_type) for g in listed] == [("g", "consumer")]
        await beat(broker, "a", -1)
        again = await stable(broker)
        assert again.generation_id == 1
        await broker.fail_over(OFFSETS, HOME)
        listed = (await broker.ask(LIST, 5, states_filter=[], types_filter=[])).groups
        assert [(g.group_id, g.group_type) for g in listed] == [("g", "classic")]

    run(scenario)


def test_while_a_classic_group_is_removed_its_members_may_come_back() -> None:
    async def scenario(broker: FakeBroker) -> None:
        member = await stable(broker)
        await broker.ask(13, 1, group_id="g", member_id=member.member_id)
        deleting = asyncio.ensure_future(delete_group(broker))
        await asyncio.sleep(0)
        assert (await join(broker)).error_code is ErrorCode.none
        assert await deleting == "none"

    run(scenario)


def test_while_a_group_is_removed_who_joins_it_waits() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0)
        await beat(broker, "a", -1)
        deleting = asyncio.ensure_future(delete_group(broker))
        await asyncio.sleep(0)
        joining = asyncio.ensure_future(beat(broker, "b", 0))
        assert (await join(broker)).error_code is ErrorCode.coordinator_load_in_progress
        assert await deleting == "none"
        assert told(await joining) == (2, [0, 1, 2])
        await broker.fail_over(OFFSETS, HOME)
        assert (await state(broker))[1] == [("b", 2)]

    run(scenario)


def test_it_is_deleted_when_nobody_is_in_it() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0)
        await commit(broker, 5, "a", 2)
        assert await delete_group(broker) == "non_empty_group"
        assert await delete_offset(broker) == "group_subscribed_to_topic"
        await beat(broker, "a", -1)
        assert await delete_group(broker) == "none"
        await broker.fail_over(OFFSETS, HOME)
        assert await committed(broker) == -1
        assert await delete_group(broker) == "group_id_not_found"

    run(scenario)


def test_offsets_expire_when_nobody_has_been_in_it_for_a_while() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0)
        await commit(broker, 5, "a", 2)
        await asyncio.sleep(6)
        assert await committed(broker) == 5
        await beat(broker, "a", -1)
        await asyncio.sleep(6)
        assert await committed(broker) == -1
        assert (await broker.ask(LIST, 5, states_filter=[], types_filter=[])).groups == ()

    run(scenario, **SOON)


def test_members_beyond_the_limit_are_refused() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await beat(broker, "a", 0)
        assert await refused(broker, "b", 0) == "group_max_size_reached"

    run(scenario, **{"group.consumer.max.size": 1})
