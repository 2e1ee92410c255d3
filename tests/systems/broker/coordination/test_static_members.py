"""Static members (KIP-345): who comes back under its name takes up its place, and fences whom it replaces."""

from __future__ import annotations

from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.coordinator_log import OFFSETS

from .fake_broker import FakeBroker
from .test_groups import HOME, run

JOIN, HEARTBEAT, LEAVE, SYNC = 11, 12, 13, 14


async def join(broker: FakeBroker, instance: str, member_id: str = "", *, protocol: bytes = b"p") -> Any:
    return await broker.ask(
        JOIN,
        5,
        client_id="c",
        group_id="g",
        session_timeout=messages.milliseconds(10_000),
        rebalance_timeout=messages.milliseconds(10_000),
        member_id=member_id,
        group_instance_id=instance,
        protocol_type="consumer",
        protocols=[{"name": "range", "metadata": protocol}],
    )


async def sync(broker: FakeBroker, joined: Any, instance: str, **assignments: bytes) -> Any:
    return await broker.ask(
        SYNC,
        3,
        group_id="g",
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        group_instance_id=instance,
        assignments=[{"member_id": m, "assignment": a} for m, a in assignments.items()],
    )


async def heartbeat(broker: FakeBroker, joined: Any, instance: str) -> str:
    answer = await broker.ask(
        HEARTBEAT,
        3,
        group_id="g",
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        group_instance_id=instance,
    )
    return str(answer.error_code.name)


async def stable(broker: FakeBroker) -> Any:
    joined = await join(broker, "i")
    assert joined.error_code is ErrorCode.none
    assert (await sync(broker, joined, "i", **{joined.member_id: b"all"})).assignment == b"all"
    return joined


def test_it_comes_back_without_a_rebalance() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await stable(broker)
        again = await join(broker, "i")
        assert again.error_code is ErrorCode.none
        assert again.generation_id == first.generation_id
        assert again.member_id != first.member_id
        # Not the leader by that answer: it must not hand out partitions anew.
        assert again.leader == first.member_id
        assert again.members == ()
        assert (await sync(broker, again, "i")).assignment == b"all"
        assert await heartbeat(broker, again, "i") == "none"

    run(scenario)


def test_whom_it_replaces_is_fenced() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await stable(broker)
        await join(broker, "i")
        assert await heartbeat(broker, first, "i") == "fenced_instance_id"
        assert (await sync(broker, first, "i")).error_code is ErrorCode.fenced_instance_id
        assert (await join(broker, "i", first.member_id)).error_code is ErrorCode.fenced_instance_id

    run(scenario)


def test_other_subscriptions_rebalance() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await stable(broker)
        again = await join(broker, "i", protocol=b"other")
        assert again.generation_id == first.generation_id + 1

    run(scenario)


def test_a_new_coordinator_knows_the_name() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await stable(broker)
        again = await join(broker, "i")
        await broker.fail_over(OFFSETS, HOME)
        assert await heartbeat(broker, first, "i") == "fenced_instance_id"
        assert await heartbeat(broker, again, "i") == "none"

    run(scenario)


def test_its_name_alone_sends_it_away() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await stable(broker)
        who = {"member_id": "", "group_instance_id": "i"}
        answer = await broker.ask(LEAVE, 3, group_id="g", members=[who])
        assert [m.error_code for m in answer.members] == [ErrorCode.none]
        assert await heartbeat(broker, first, "i") == "unknown_member_id"

    run(scenario)
