"""Kafka messages between nodes that a fault holds back by their kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from systems.broker.system import BrokerSystem
from tests.systems.broker.test_directed_schedules import cut, heal, produce, read_back, replicas, until
from tests.systems.kafka.simulated import Simulated, simulate


async def late(running: Simulated, source: str, target: str, kind: str, latency_ms: float) -> None:
    done = await running.cluster.delay_messages(
        source, target, kind=kind, latency_ms=latency_ms, jitter_ms=0.0
    )
    assert done.verified


def test_the_kinds_of_kafka_and_of_raft_are_named() -> None:
    kinds = BrokerSystem().message_kinds
    assert {"fetch", "fetch-response", "alter-partition", "observe", "append"} <= kinds


@pytest.mark.parametrize("kind", ["fetch", "fetch-response"])
def test_a_follower_whose_fetches_are_late_leaves_the_isr_and_comes_back(kind: str) -> None:
    async def scenario(running: Simulated) -> tuple[Any, list[str], list[str]]:
        leader, late_one, other = await replicas(running)
        ends = (late_one, leader) if kind == "fetch" else (leader, late_one)
        await late(running, *ends, kind, 60_000)
        sent = await produce(running)
        shrunk = await until(running, "isr-shrunk")
        await late(running, *ends, kind, 0)
        assert sorted(shrunk["isr"]) == sorted((leader, other))
        return shrunk, sent, await read_back(running)

    _, sent, found = simulate(scenario)
    assert found == sent


def test_heartbeats_that_are_late_get_a_broker_fenced_while_it_replicates() -> None:
    async def scenario(running: Simulated) -> None:
        _, late_one, _ = await replicas(running)
        for controller in ("c1", "c2", "c3"):
            await late(running, late_one, controller, "broker-heartbeat", 60_000)
        await asyncio.sleep(6)
        fenced = [e["broker"] for e in running.events("broker-fenced")]
        assert fenced == [late_one]
        truncated = running.events("truncated")
        assert not truncated

    simulate(scenario)


def test_a_request_that_was_given_up_arrives_after_its_own_retry() -> None:
    """The first of two equal proposals reaches the controller when the second is long applied: it is refused."""

    async def scenario(running: Simulated) -> tuple[list[str], list[str]]:
        leader, behind, other = await replicas(running)
        await cut(running, leader, behind)
        sent = await produce(running)
        assert sorted((await until(running, "isr-shrunk"))["isr"]) == sorted((leader, other))
        for controller in ("c1", "c2", "c3"):
            await late(running, leader, controller, "alter-partition", 8_000)
        await heal(running, leader, behind)
        await asyncio.sleep(4)
        assert not running.events("isr-expanded")
        for controller in ("c1", "c2", "c3"):
            await late(running, leader, controller, "alter-partition", 0)
        await until(running, "isr-expanded")
        changes = len(running.events("partition-changed"))
        await asyncio.sleep(8)
        assert len(running.events("partition-changed")) == changes
        return sent, await read_back(running)

    sent, found = simulate(scenario)
    assert found == sent
