"""Under a lease a broker leads what it believes to lead, whatever breaks; coordinators answer only so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from harness.clusters.sim import SimCluster
from systems.broker import messages
from systems.broker.channel import Channel
from systems.broker.controller import heartbeats
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.lease import Lease
from systems.broker.metadata import MetadataImage
from tests.systems.broker.controller.quorum import (
    ControlPlane,
    active_controller,
    create_topic,
    on_broker,
    simulate,
)
from tests.systems.broker.controller.test_consistency import break_something
from tests.systems.broker.coordination.fake_broker import FakeBroker, virtually
from tests.systems.kafka import simulated
from tests.systems.kafka.simulated import Simulated

BROKERS = ("b1", "b2", "b3")
CONTROLLERS = ("c1", "c2", "c3")


def test_a_lease_ends_a_margin_before_the_session_does() -> None:
    async def scenario() -> None:
        lease = Lease(3000)
        assert not lease.valid
        sent = asyncio.get_running_loop().time()
        await asyncio.sleep(0.5)
        lease.extend(sent)
        await asyncio.sleep(2.1)
        assert lease.valid
        await asyncio.sleep(0.2)
        assert not lease.valid
        lease.extend(asyncio.get_running_loop().time())
        assert lease.valid
        lease.surrender()
        lease.extend(asyncio.get_running_loop().time())
        assert not lease.valid, "who asks to leave has no lease any more"

    virtually(scenario())


class Watched(ControlPlane):
    """Nobody with a lease believes to lead what, by the newest metadata that anybody knows, it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = MetadataImage()
        self.leased = 0
        self.violations: dict[str, None] = {}

    def learned(self, broker: str, image: MetadataImage) -> None:
        super().learned(broker, image)
        if image.offset > self.newest.offset:
            self.newest = image

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            for name, broker in sorted(self.brokers.items()):
                topic = broker.image.topics.get("orders")
                if topic is None or not broker.lease.valid:
                    continue
                for mine, now in zip(topic.partitions, self.newest.topics["orders"].partitions, strict=True):
                    self.leased += mine.leader == broker.env.id
                    if mine.leader == broker.env.id and now.leader != mine.leader:
                        self.violations[f"{name} in epoch {mine.leader_epoch}, now {now}"] = None


async def turmoil(cluster: SimCluster, plane: Watched, rng: random.Random) -> None:
    watching = asyncio.get_running_loop().create_task(plane.watch())
    await asyncio.sleep(3)
    await on_broker(cluster, plane, "b1", create_topic("orders", 3))
    for _ in range(20):
        await break_something(cluster, rng, rng.choice((*CONTROLLERS, *BROKERS)))
        if rng.random() < 0.5:
            await island(cluster, (rng.choice(BROKERS), active_controller(cluster)), rng.uniform(3, 7))
        await asyncio.sleep(rng.uniform(0, 3))
    watching.cancel()


async def island(cluster: SimCluster, alone: tuple[str, ...], seconds: float) -> None:
    """Those and nobody else can talk to each other."""
    rest = [n for n in (*BROKERS, *CONTROLLERS) if n not in alone]
    links = [(a, b) for a in alone for b in rest] + [(b, a) for a in alone for b in rest]
    for source, target in links:
        await cluster.cut(source, target, how="drop")
    await asyncio.sleep(seconds)
    for source, target in links:
        await cluster.heal(source, target)


def violations(seed: int) -> list[str]:
    plane = Watched()
    simulate(lambda cluster, _: turmoil(cluster, plane, random.Random(seed)), seed=seed, plane=plane)
    assert plane.leased > 1000, "nobody led under a lease"
    return list(plane.violations)


@pytest.mark.parametrize("seed", range(5))
def test_under_a_lease_nobody_else_leads(seed: int) -> None:
    assert violations(seed) == []


async def _unconfirmed(log: MetadataLog) -> None: ...


def test_it_takes_a_majority_to_know_who_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that was deposed behind its back acknowledges heartbeats all the same."""
    monkeypatch.setattr(MetadataLog, "confirm_active", _unconfirmed)
    assert any(violations(seed) for seed in range(3))


def test_a_broker_must_have_seen_that_it_was_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back in service before its metadata tells it what it lost, it would hold a lease on that."""
    monkeypatch.setattr(heartbeats, "is_caught_up", lambda broker, offset: offset >= broker.epoch)
    assert any(violations(seed) for seed in range(3))


def test_a_request_without_a_lease_goes_elsewhere() -> None:
    async def scenario() -> None:
        broker = FakeBroker()
        await broker.start()
        broker.leased = False
        answer = await broker.ask(9, 7, group_id="g", topics=None, require_stable=False)
        assert answer.error_code is ErrorCode.not_coordinator
        await broker.stop()

    virtually(scenario())


def stale_answers(seed: int, bugs: frozenset[str] = frozenset()) -> list[int]:
    """What a paused coordinator answers, when it wakes, to offset fetches that waited for it while its
    successor acknowledged another commit (offset 2)."""

    async def scenario(running: Simulated) -> list[int]:
        cluster = running.cluster

        def channel(node: str) -> Channel:
            return Channel(lambda: cluster.address(node, client="k1"))

        async def commit(offset: int, nodes: Sequence[str]) -> str:
            """Asks one after the other until one of them coordinates the group: its name."""
            while True:
                for node in nodes:
                    answer = await channel(node).call(_commit(offset), timeout_ms=60_000)
                    if answer.topics[0].partitions[0].error_code is ErrorCode.none:
                        return node
                await asyncio.sleep(0.2)

        find = messages.request(10, 3, key="g", key_type=0)
        await running.on("k1", channel("b1").call(find, timeout_ms=60_000))
        coordinator = await running.on("k1", commit(1, BROKERS))
        await cluster.pause(coordinator)
        await asyncio.sleep(1)
        waiting = [
            asyncio.ensure_future(running.on("k1", channel(coordinator).call(_fetch(), timeout_ms=60_000)))
            for _ in range(5)
        ]
        await running.on("k1", commit(2, [b for b in BROKERS if b != coordinator]))
        await cluster.resume(coordinator)
        groups = [answer.groups[0] for answer in await asyncio.gather(*waiting)]
        return [g.topics[0].partitions[0].committed_offset for g in groups if g.error_code is ErrorCode.none]

    answers: list[int] = simulated.simulate(scenario, seed=seed, bugs=bugs)
    return [offset for offset in answers if offset != 2]


def _commit(offset: int) -> Any:
    partition = {"partition_index": 0, "committed_offset": offset, "committed_metadata": ""}
    return messages.request(
        8,
        7,
        group_id="g",
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[{"name": "input", "partitions": [partition | {"committed_leader_epoch": -1}]}],
    )


def _fetch() -> Any:
    topics = [{"name": "input", "partition_indexes": (0,)}]
    return messages.request(9, 8, groups=[{"group_id": "g", "topics": topics}], require_stable=True)


def test_a_coordinator_that_slept_does_not_answer_from_its_memory() -> None:
    assert [stale_answers(seed) for seed in range(3)] == [[], [], []]


def test_without_a_lease_it_does() -> None:
    bugs = frozenset({"coordinator-serves-without-lease"})
    assert any(stale_answers(seed, bugs) for seed in range(3))
