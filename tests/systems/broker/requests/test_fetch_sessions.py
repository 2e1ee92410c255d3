"""A session that rests its quiet partitions against a leader that looks at all of them at every fetch."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec
import pytest
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError, RequestContext
from systems.broker.follower import FetchPosition
from systems.broker.in_sync import InSync
from systems.broker.isr import Isr
from systems.broker.leader import Leader
from systems.broker.metadata import BrokerState, PartitionState
from systems.broker.partition import Partition
from systems.broker.requests import fetch_encoding
from systems.broker.requests.fetch import Fetch
from systems.broker.topic_config import TopicConfig
from systems.broker.wire import decode_request, decode_response, encode_request, encode_response
from tests.systems.broker.batches import batch
from tests.systems.broker.memory_environment import MemoryEnvironment

CONFIG = TopicConfig(
    min_insync_replicas=1,
    segment_bytes=1 << 20,
    flush_messages=1 << 62,
    max_message_bytes=1000,
    log_append_time=False,
)
TOPIC_ID = b"t" * 16
PARTITIONS = 4
FOLLOWERS = (2, 3)
LAG_S = 2.0


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time is set by hand."""

    now = 100.0

    def time(self) -> float:
        return self.now


class Broker:
    """Broker 1 leads every partition. Implements what `Fetch` and `Partition` ask of their surroundings."""

    def __init__(self) -> None:
        self.env = MemoryEnvironment("b1")
        self.brokers = {b: BrokerState(b, f"b{b}", "h", 1, 10 + b, False) for b in (1, 2, 3)}
        self.proposals: list[tuple[int, Isr]] = []
        self.partitions = [Partition(cast(Any, self), "t", TOPIC_ID, i, CONFIG) for i in range(PARTITIONS)]
        for partition in self.partitions:
            partition.apply(PartitionState((1, 2, 3), 1, 0, 0, (1, 2, 3)))

    def registration(self, broker_id: int) -> BrokerState | None:
        return self.brokers.get(broker_id)

    def propose_isr(self, leader: InSync) -> None:
        self.proposals.append((leader.index, leader.isr))

    def topic_name(self, topic_id: bytes) -> str:
        return "t"

    def leader_of(self, topic: str, index: int) -> Leader:
        leader = self.partitions[index].leader
        if leader is None:
            raise KafkaError(ErrorCode.not_leader_or_follower)
        return leader

    def seen(self, now: float) -> list[Any]:
        """Everything that follows from the fetches so far."""
        told: list[Any] = []
        for partition in self.partitions:
            leader = partition.leader
            assert leader is not None
            ends = [(f, leader.followers[f].end_offset, leader.followers[f].broker_epoch) for f in FOLLOWERS]
            told.append((partition.high_watermark, leader.isr, ends))
        return [*told, self.proposals]


class Session:
    """A follower's side: what it has told and what it was told, by partition."""

    def __init__(self, follower: int) -> None:
        self.follower = follower
        self.id = 0
        self.epoch = 0
        self.told: dict[int, FetchPosition] = {}
        self.high_watermarks: dict[int, int] = {}

    async def fetch(self, fetch: Fetch, broker_epoch: int, wanted: dict[int, FetchPosition]) -> None:
        changed = [(i, p, 0) for i, p in wanted.items() if self.told.get(i) != p]
        request = fetch_encoding.follower_request(
            replica=self.follower,
            broker_epoch=broker_epoch,
            max_wait_ms=0,
            min_bytes=1,
            max_bytes=1 << 20,
            partition_max_bytes=1 << 20,
            session_id=self.id,
            session_epoch=self.epoch,
            wanted={TOPIC_ID: changed} if changed else {},
            forgotten={},
        )
        self.told |= wanted
        payload = decode_request(encode_request(request, 1, None)[4:]).payload
        answer = (await fetch.on_fetch(RequestContext(1, 16, 1, None, "peer"), payload)).response
        _, response = decode_response(encode_response(answer, 1)[4:], 1, 16)
        assert response.error_code is ErrorCode.none
        self.id, self.epoch = response.session_id, self.epoch + 1
        for topic in response.responses:
            assert topic.topic_id == uuid.UUID(bytes=TOPIC_ID)
            for data in topic.partitions:
                if data.error_code is ErrorCode.none:
                    self.high_watermarks[data.partition_index] = data.high_watermark


class Twins:
    """The same things happen to both brokers; only how followers fetch from them differs."""

    def __init__(self, loop: Clock, seed: int) -> None:
        self.loop = loop
        self.rng = random.Random(seed)
        self.resting, self.eager = Broker(), Broker()
        self.fetch = Fetch(cast(Any, self.resting), cast(Any, self.resting), cast(Any, None))
        self.sessions = {f: Session(f) for f in FOLLOWERS}
        self.behind = {f: [0] * PARTITIONS for f in FOLLOWERS}
        self.epochs = dict.fromkeys(FOLLOWERS, 0)

    def both(self, action: Callable[[Broker], None]) -> None:
        for broker in (self.resting, self.eager):
            action(broker)

    async def step(self) -> None:
        self.loop.now += self.rng.choice((0.0, 0.01, 0.3, 1.0))
        actions = [
            self.append,
            self.follow,
            self.follow,
            self.follow,
            self.shrink,
            self.confirm,
            self.register,
        ]
        await self.rng.choices(actions, (8, 8, 8, 8, 4, 3, 1))[0]()
        assert self.resting.seen(self.loop.now) == self.eager.seen(self.loop.now)

    async def append(self) -> None:
        index = self.rng.randrange(PARTITIONS)
        self.both(lambda broker: _append(broker.leader_of("t", index)))

    async def shrink(self) -> None:
        index = self.rng.randrange(PARTITIONS)
        self.both(lambda broker: broker.leader_of("t", index).maybe_shrink_isr(LAG_S))

    async def confirm(self) -> None:
        """The controller's answer to a proposal, or a change of its own: a follower was fenced."""
        if not self.eager.proposals:
            return
        index, isr = self.eager.proposals[-1]
        members = isr.pending or isr.committed
        if self.rng.random() < 0.2:
            members = tuple(m for m in members if m != 3)
        self.both(lambda broker: _confirm(broker.leader_of("t", index), members))

    async def register(self) -> None:
        """The follower is fenced or unfenced, or registers anew: its old incarnation may go on fetching."""
        follower = self.rng.choice(FOLLOWERS)
        before = self.eager.brokers[follower]
        if self.rng.random() < 0.3:
            after = msgspec.structs.replace(before, epoch=before.epoch + 10)
        else:
            after = msgspec.structs.replace(before, fenced=not before.fenced)
        self.both(lambda broker: broker.brokers.__setitem__(follower, after))

    async def follow(self) -> None:
        follower = self.rng.choice(FOLLOWERS)
        registered = self.eager.brokers[follower].epoch
        if self.rng.random() < 0.1 or not self.epochs[follower]:
            self.epochs[follower] = registered
            self.sessions[follower] = Session(follower)
        epoch, ends = self.epochs[follower], self.behind[follower]
        wanted = {i: FetchPosition(0, ends[i], -1) for i in range(PARTITIONS)}
        await self.sessions[follower].fetch(self.fetch, epoch, wanted)
        for index in range(PARTITIONS):
            leader = self.eager.leader_of("t", index)
            try:
                fetched = leader.fetch_for_follower(follower, epoch, ends[index], -1, 1 << 20)
            except KafkaError:
                continue
            assert self.sessions[follower].high_watermarks[index] == fetched.high_watermark
            if self.rng.random() < 0.8:
                ends[index] = leader.log_end_offset


def _append(leader: Leader) -> None:
    leader.append_now(batch(), acks=1)


def _confirm(leader: Leader, members: tuple[int, ...]) -> None:
    leader.on_isr_confirmed(members, leader.isr.partition_epoch + 1)


def _spied(looked: list[int], index: int, real: Callable[..., Any], *given: Any) -> Any:
    looked.append(index)
    return real(*given)


@pytest.mark.parametrize("seed", range(30))
def test_resting_changes_nothing(seed: int) -> None:
    loop = Clock()

    async def turmoil() -> None:
        twins = Twins(loop, seed)
        for _ in range(200):
            await twins.step()

    try:
        loop.run_until_complete(turmoil())
    finally:
        loop.close()


def test_a_quiet_partition_is_not_looked_at() -> None:
    """Otherwise every wake-up of a follower would cost as much as all its partitions."""
    loop = Clock()
    looked: list[int] = []

    async def quiet() -> None:
        twins = Twins(loop, 0)
        for partition in twins.resting.partitions:
            leader = cast(Any, partition.leader)
            leader.fetch_for_follower = partial(_spied, looked, partition.index, leader.fetch_for_follower)
        wanted = {i: FetchPosition(0, 0, -1) for i in range(PARTITIONS)}
        session = twins.sessions[2]
        await session.fetch(twins.fetch, 12, wanted)
        assert looked == [0, 1, 2, 3]
        await session.fetch(twins.fetch, 12, wanted)
        assert looked == [0, 1, 2, 3]
        _append(twins.resting.leader_of("t", 2))
        await session.fetch(twins.fetch, 12, wanted)
        assert looked == [0, 1, 2, 3, 2]

    try:
        loop.run_until_complete(quiet())
    finally:
        loop.close()
