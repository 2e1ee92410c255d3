"""Two members of a classic group (semantics 2.5): the barrier of JoinGroup, the leader's SyncGroup, leaving."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ..requests import heartbeat, join, leave, offset_commit, offset_fetch, sync
from ..session import Answer, Session, settled


class _Pair(NamedTuple):
    leader: str
    follower: str


async def a_second_member(kafka: Session) -> Answer:
    """Empty -> Stable -> PreparingRebalance -> CompletingRebalance -> Stable."""
    group = kafka.own("g")
    topic = await kafka.create_topic("t")
    first, second = await _ids(kafka, group)
    await join(kafka, group, first)
    await sync(kafka, group, first, 1, {first: b"all"})
    entering = asyncio.ensure_future(join(kafka, group, second, lane="second"))
    await _until_rebalancing(kafka, group, first, 1)
    answers: Answer = {
        "preparing: heartbeat": await heartbeat(kafka, group, first, 1),
        "preparing: heartbeat, old generation": await heartbeat(kafka, group, first, 0),
        "preparing: commit": await offset_commit(kafka, group, topic, 5, generation=1, member=first),
        "preparing: sync": await sync(kafka, group, first, 1),
        "preparing: second has to wait": entering.done(),
    }
    _, answers["first joins again"] = await join(kafka, group, first)
    _, answers["second has joined"] = await entering
    answers |= {
        "completing: heartbeat": await heartbeat(kafka, group, second, 2),
        "completing: heartbeat, old generation": await heartbeat(kafka, group, first, 1),
        "completing: commit": await offset_commit(kafka, group, topic, 6, generation=2, member=first),
        "completing: commit, old generation": await offset_commit(
            kafka, group, topic, 6, generation=1, member=first
        ),
    }
    following = asyncio.ensure_future(sync(kafka, group, second, 2, lane="second"))
    await asyncio.sleep(0.3)
    answers["follower's sync has to wait"] = following.done()
    answers["leader's sync"] = await sync(kafka, group, first, 2, {first: b"one", second: b"two"})
    answers["follower's sync"] = await following
    answers |= {
        "stable: heartbeats": [
            await heartbeat(kafka, group, first, 2),
            await heartbeat(kafka, group, second, 2),
        ],
        "stable: commit": await offset_commit(kafka, group, topic, 7, generation=2, member=second),
        "stable: commit, old generation": await offset_commit(
            kafka, group, topic, 8, generation=1, member=first
        ),
        "committed": await offset_fetch(kafka, group, {topic: [0]}),
    }
    return answers


async def the_leader_leaves(kafka: Session) -> Answer:
    group = kafka.own("g")
    leader, follower = await _stable_pair(kafka, group)
    return {
        "left": await leave(kafka, group, leader),
        "heartbeat of who left": await heartbeat(kafka, group, leader, 2),
        "heartbeat of who stayed": await heartbeat(kafka, group, follower, 2),
        "joined alone": (await join(kafka, group, follower))[1],
    }


async def a_follower_joins_again(kafka: Session) -> Answer:
    """Unchanged, it is told what holds; with a new subscription it starts a rebalance."""
    group = kafka.own("g")
    leader, follower = await _stable_pair(kafka, group)
    unchanged = (await join(kafka, group, follower))[1]
    still = await heartbeat(kafka, group, leader, 2)
    changing = asyncio.ensure_future(
        join(kafka, group, follower, protocols=[("range", b"changed")], lane="follower")
    )
    await _until_rebalancing(kafka, group, leader, 2)
    leading = await join(kafka, group, leader)
    return {
        "unchanged": unchanged,
        "leader's heartbeat": still,
        "leader": leading[1],
        "changed": (await changing)[1],
    }


async def a_member_that_stays_away(kafka: Session) -> Answer:
    """Who does not join again within the rebalance time-out is out."""
    group = kafka.own("g")
    leader, follower = await _stable_pair(kafka, group, rebalance_timeout_ms=1500)
    joined = (await join(kafka, group, leader, rebalance_timeout_ms=1500))[1]
    return {
        "leader joined": joined,
        "the other's heartbeat": await heartbeat(kafka, group, follower, 3),
        "leader's heartbeat": await heartbeat(kafka, group, leader, 3),
    }


async def protocols_are_voted_on(kafka: Session) -> Answer:
    """The group takes a protocol that all members know."""
    group = kafka.own("g")
    first, second = await _ids(kafka, group, (("cooperative-sticky", b"c"), ("range", b"r")))
    await join(kafka, group, first, protocols=[("cooperative-sticky", b"c"), ("range", b"r")])
    await sync(kafka, group, first, 1, {first: b"all"})
    entering = asyncio.ensure_future(
        join(kafka, group, second, protocols=[("range", b"r2"), ("sticky", b"s")], lane="second")
    )
    await _until_rebalancing(kafka, group, first, 1)
    leading = await join(kafka, group, first, protocols=[("cooperative-sticky", b"c"), ("range", b"r")])
    return {"first": leading[1], "second": (await entering)[1]}


async def _ids(
    kafka: Session, group: str, protocols: tuple[tuple[str, bytes], ...] = (("range", b"subscription"),)
) -> _Pair:
    first, _ = await join(kafka, group, protocols=protocols)
    second, _ = await join(kafka, group, protocols=protocols)
    for required in (first, second):
        kafka.named("member", required.member_id)
    return _Pair(first.member_id, second.member_id)


async def _stable_pair(kafka: Session, group: str, *, rebalance_timeout_ms: int = 10_000) -> _Pair:
    """Generation 2; the first to join leads."""
    first, second = await _ids(kafka, group)
    await join(kafka, group, first, rebalance_timeout_ms=rebalance_timeout_ms)
    await sync(kafka, group, first, 1, {first: b"all"})
    entering = asyncio.ensure_future(
        join(kafka, group, second, rebalance_timeout_ms=rebalance_timeout_ms, lane="second")
    )
    await _until_rebalancing(kafka, group, first, 1)
    await join(kafka, group, first, rebalance_timeout_ms=rebalance_timeout_ms)
    await entering
    await sync(kafka, group, first, 2, {first: b"one", second: b"two"})
    return _Pair(first, second)


async def _until_rebalancing(kafka: Session, group: str, member: str, generation: int) -> None:
    async def rebalancing() -> bool | None:
        answer = await heartbeat(kafka, group, member, generation)
        return True if answer["error_code"] == "rebalance_in_progress" else None

    await settled(rebalancing, f"{group} does not rebalance")
