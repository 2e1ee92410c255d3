"""Registration, fencing, elections and controller failover, end to end on the simulator."""

from __future__ import annotations

import asyncio
from typing import Any

from kio.schema.errors import ErrorCode

from harness.clusters.sim import SimCluster
from systems.broker import messages
from tests.systems.broker.controller.quorum import (
    ControlPlane,
    active_controller,
    create_topic,
    events,
    on_broker,
    simulate,
)


async def in_service(plane: ControlPlane) -> None:
    await asyncio.sleep(0.5)
    for broker in plane.brokers.values():
        await broker.in_service.wait()
    assert len(plane.brokers) == 3


def state(plane: ControlPlane, broker: str, topic: str = "orders", index: int = 0) -> Any:
    partition = plane.brokers[broker].image.partition(topic, index)
    assert partition is not None
    return partition


def test_brokers_register_and_a_topic_gets_balanced_leaders() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        assert cluster.now_ns() < 6e9
        response = await on_broker(cluster, plane, "b1", create_topic("orders", 3))
        assert response.topics[0].error_code is ErrorCode.none
        again = await on_broker(cluster, plane, "b2", create_topic("orders", 3))
        assert again.topics[0].error_code is ErrorCode.topic_already_exists
        await asyncio.sleep(0.5)
        image = plane.brokers["b3"].image
        assert sorted(p.leader for p in image.topics["orders"].partitions) == [1, 2, 3]
        assert all(p.isr == p.replicas for p in image.topics["orders"].partitions)
        assert image.features == {"transaction.version": 2, "eligible.leader.replicas.version": 1}
        assert [e["partition"] for e in events(cluster, "partition-changed")] == [
            "orders/0",
            "orders/1",
            "orders/2",
        ]
        assert len(events(cluster, "broker-unfenced")) == 3
        assert len(events(cluster, "controller-elected")) == 1

    simulate(scenario)


def test_a_dead_broker_is_fenced_and_comes_back_only_after_that() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        await on_broker(cluster, plane, "b2", create_topic("orders"))
        await asyncio.sleep(0.5)
        leader = state(plane, "b2").leader
        name = f"b{leader}"
        survivor = next(n for n in ("b1", "b2", "b3") if n != name)
        before = plane.brokers[name].epoch
        await cluster.kill(name)
        await cluster.restart(name)
        await asyncio.sleep(1.5)
        assert not plane.brokers[name].in_service.is_set(), "the old incarnation is not fenced yet"
        await asyncio.sleep(6)
        assert plane.brokers[name].in_service.is_set()
        assert plane.brokers[name].epoch > before
        partition = state(plane, survivor)
        assert partition.leader not in (leader, -1)
        assert leader not in partition.isr
        assert partition.leader_epoch == 1
        kinds = [(e.kind, e.fields.get("broker")) for e in cluster.events]
        assert kinds.index(("broker-fenced", name)) < len(kinds) - 1 - kinds[::-1].index(
            ("broker-registered", name)
        )
        assert not events(cluster, "broker-registered")[-1]["clean"]

    simulate(scenario)


def test_an_orderly_stop_counts_as_clean() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        await plane.brokers["b1"].leave()
        await plane.brokers["b1"].stop()
        await cluster.kill("b1")
        await cluster.restart("b1")
        await asyncio.sleep(3)
        assert plane.brokers["b1"].in_service.is_set(), "it was fenced when it left: no session to wait for"
        assert events(cluster, "broker-registered")[-1]["clean"]

    simulate(scenario)


def test_another_controller_takes_over_and_nothing_is_forgotten() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        await on_broker(cluster, plane, "b1", create_topic("orders", 2))
        first = active_controller(cluster)
        await cluster.kill(first)
        response = await on_broker(cluster, plane, "b1", create_topic("payments"))
        assert response.topics[0].error_code is ErrorCode.none
        assert active_controller(cluster) != first
        await cluster.restart(first)
        await asyncio.sleep(5)
        assert set(plane.brokers["b1"].image.topics) == {"orders", "payments"}
        assert not events(cluster, "broker-fenced"), "a new controller gives every broker a whole session"
        epochs = [e["epoch"] for e in events(cluster, "controller-elected")]
        assert epochs == sorted(set(epochs))

    simulate(scenario)


def test_a_deposed_controller_never_answers_success() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        await on_broker(cluster, plane, "b1", create_topic("orders"))
        first = active_controller(cluster)
        others = [c for c in ("c1", "c2", "c3") if c != first]
        for other in others:
            await cluster.cut(first, other, how="drop")
            await cluster.cut(other, first, how="drop")
        response = await on_broker(cluster, plane, "b1", create_topic("payments"), timeout_ms=15_000)
        assert response.topics[0].error_code is ErrorCode.none
        for other in others:
            await cluster.heal(first, other)
            await cluster.heal(other, first)
        await asyncio.sleep(8)
        images = [b.image for b in plane.brokers.values()]
        assert all("payments" in image.topics for image in images)
        assert len({image.offset for image in images}) == 1
        assert images[0] == images[1] == images[2]

    for seed in range(5):
        simulate(scenario, seed=seed)


def test_producer_id_blocks_never_overlap_across_failovers() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        starts = []
        for round_ in range(4):
            for broker in ("b1", "b2", "b3"):
                request = messages.request(
                    67, 0, broker_id=plane.brokers[broker].env.id, broker_epoch=plane.brokers[broker].epoch
                )
                response = await on_broker(cluster, plane, broker, request)
                assert response.error_code is ErrorCode.none
                starts.append(response.producer_id_start)
            active = active_controller(cluster)
            await cluster.kill(active)
            await asyncio.sleep(0.1 * round_)
            await cluster.restart(active)
        assert len(set(starts)) == len(starts)

    simulate(scenario)


def test_a_quorum_that_lost_power_remembers_what_it_committed() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        await on_broker(cluster, plane, "b1", create_topic("orders", 2))
        for controller in ("c1", "c2", "c3"):
            await cluster.power_fail(controller, torn=True)
        for controller in ("c1", "c2", "c3"):
            await cluster.restart(controller)
        response = await on_broker(cluster, plane, "b1", create_topic("orders", 2), timeout_ms=15_000)
        assert response.topics[0].error_code is ErrorCode.topic_already_exists

    for seed in range(3):
        simulate(scenario, seed=seed)


def test_a_quorum_that_restarts_does_not_report_old_changes_again() -> None:
    async def scenario(cluster: SimCluster, plane: ControlPlane) -> None:
        await in_service(plane)
        await on_broker(cluster, plane, "b1", create_topic("orders", 2))
        await asyncio.sleep(1)
        for controller in ("c1", "c2", "c3"):
            await cluster.kill(controller)
        for controller in ("c1", "c2", "c3"):
            await cluster.restart(controller)
        await on_broker(cluster, plane, "b1", create_topic("orders", 2), timeout_ms=15_000)
        assert len(events(cluster, "partition-changed")) == 2
        assert len(events(cluster, "broker-registered")) == 3

    simulate(scenario)
