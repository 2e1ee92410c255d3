"""Whatever breaks, every broker sees the same history of the metadata; and it goes on once things heal."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest
from kio.schema.errors import ErrorCode

from harness.clusters.sim import SimCluster
from systems.broker import messages
from systems.broker.metadata import MetadataImage, encode_image
from systems.raft import node as raft_node
from tests.systems.broker.controller.quorum import (
    ControlPlane,
    active_controller,
    create_topic,
    on_broker,
    simulate,
)

CONTROLLERS = ("c1", "c2", "c3")
BROKERS = ("b1", "b2", "b3")


def contradictions(plane: ControlPlane) -> list[str]:
    """Offsets at which two brokers saw different images, epochs with two leaders."""
    found = []
    by_offset: dict[int, bytes] = {}
    leaders: dict[tuple[str, int, int], int] = {}
    for name, image in plane.images:
        encoded = encode_image(image)
        if by_offset.setdefault(image.offset, encoded) != encoded:
            found.append(f"{name} differs at offset {image.offset}")
        for topic in image.topics.values():
            for index, partition in enumerate(topic.partitions):
                if partition.leader == -1:
                    continue
                key = (topic.name, index, partition.leader_epoch)
                if leaders.setdefault(key, partition.leader) != partition.leader:
                    found.append(f"two leaders in epoch {partition.leader_epoch} of {topic.name}/{index}")
    return found


async def shrink_or_grow(plane: ControlPlane, rng: random.Random) -> None:
    """What a leader would do: propose some ISR for a partition it believes to lead."""
    name = rng.choice(BROKERS)
    broker = plane.brokers[name]
    image: MetadataImage = broker.image
    topic = image.topics.get("orders")
    if topic is None:
        return
    for index, partition in enumerate(topic.partitions):
        if partition.leader != broker.env.id:
            continue
        isr = [b for b in partition.replicas if b == partition.leader or rng.random() < 0.6]
        request = messages.request(
            56,
            3,
            broker_id=broker.env.id,
            broker_epoch=broker.epoch,
            topics=[
                {
                    "topic_id": uuid.UUID(bytes=topic.id),
                    "partitions": [
                        {
                            "partition_index": index,
                            "leader_epoch": partition.leader_epoch,
                            "new_isr_with_epochs": [
                                {"broker_id": b, "broker_epoch": image.brokers[b].epoch} for b in isr
                            ],
                            "leader_recovery_state": 0,
                            "partition_epoch": partition.partition_epoch,
                        }
                    ],
                }
            ],
        )
        try:
            await broker.call_controller(request, timeout_ms=1000)
        except (TimeoutError, OSError):
            continue


async def break_something(cluster: SimCluster, rng: random.Random, node: str) -> None:
    """One fault that ends by itself."""
    seconds = rng.uniform(0.2, 6)
    kind = rng.choice(("kill", "pause", "power", "isolate", "one-way"))
    others = [n for n in (*CONTROLLERS, *BROKERS) if n != node]
    if kind == "kill" and cluster.running(node):
        await cluster.kill(node)
        await asyncio.sleep(seconds)
        await cluster.restart(node)
    elif kind == "power" and cluster.running(node):
        await cluster.power_fail(node, torn=True)
        await asyncio.sleep(seconds)
        await cluster.restart(node)
    elif kind == "pause" and cluster.running(node):
        await cluster.pause(node)
        await asyncio.sleep(seconds)
        await cluster.resume(node)
    elif kind in ("isolate", "one-way"):
        among = [o for o in others if rng.random() < 0.7]
        for other in among:
            await cluster.cut(node, other, how="drop")
            if kind == "isolate":
                await cluster.cut(other, node, how="drop")
        await asyncio.sleep(seconds)
        for other in among:
            await cluster.heal(node, other)
            await cluster.heal(other, node)


async def turmoil(cluster: SimCluster, plane: ControlPlane, rng: random.Random) -> list[str]:
    await asyncio.sleep(3)
    await on_broker(cluster, plane, "b1", create_topic("orders", 3))
    harness = cluster.client_host("harness")
    for number in range(25):
        node = (
            active_controller(cluster) if number == 5 else rng.choice((*CONTROLLERS, *CONTROLLERS, *BROKERS))
        )
        await break_something(cluster, rng, node)
        for _ in range(2):
            await harness.spawn(shrink_or_grow(plane, rng))
        if number % 8 == 0:
            await asyncio.sleep(rng.uniform(0, 4))
    await asyncio.sleep(15)
    for name in BROKERS:
        assert plane.brokers[name].in_service.is_set(), f"{name} is not in service after the heal"
    answer = await on_broker(cluster, plane, "b2", create_topic("after"))
    assert answer.topics[0].error_code is ErrorCode.none
    await asyncio.sleep(2)
    image = plane.brokers["b1"].image
    assert image == plane.brokers["b2"].image == plane.brokers["b3"].image
    assert all(p.leader != -1 for p in image.topics["orders"].partitions), image.topics["orders"]
    return contradictions(plane)


@pytest.mark.parametrize("seed", range(8))
def test_brokers_agree_whatever_breaks(seed: int) -> None:
    assert simulate(lambda c, p: turmoil(c, p, random.Random(seed)), seed=seed) == []


@pytest.mark.parametrize("seed", range(4))
def test_brokers_agree_although_the_log_is_compacted(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raft_node, "COMPACT_AFTER_ENTRIES", 5)
    assert simulate(lambda c, p: turmoil(c, p, random.Random(seed)), seed=seed) == []


def test_a_zombie_controller_is_noticed() -> None:
    bugs = frozenset({"zombie-controller-not-fenced"})
    found = [simulate(lambda c, p, s=s: turmoil(c, p, random.Random(s)), seed=s, bugs=bugs) for s in range(8)]  # type: ignore[misc]
    assert any(found), "the mutant was never caught"
