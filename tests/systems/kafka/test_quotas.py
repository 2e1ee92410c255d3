"""A client that takes more than its quota is slowed down to it, and nobody else is (KIP-13, KIP-124, KIP-219)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.capabilities import TopicPartition
from harness.node import Address
from tests.conformance.quota_requests import alter_quotas, quotas_settled
from tests.conformance.session import Session
from tests.systems.kafka.simulated import Simulated, simulate

RECORD = b"x" * 1_000
COUNT = 60
BOUND = 10_000
SHORT_WINDOWS: dict[str, Any] = {"quota.window.num": 2}
"""What is free of a quota is a second's worth."""


async def produce(running: Simulated, host: str, **config: Any) -> float:
    """How many seconds a client takes over 60 KB."""

    async def send() -> float:
        producer = running.log(host, **config).producer()
        await producer.start()
        began = asyncio.get_running_loop().time()
        for _ in range(COUNT):
            await producer.send("input", RECORD, partition=0)
        taken = asyncio.get_running_loop().time() - began
        await producer.close()
        return taken

    taken: float = await running.on(host, send())
    return taken


async def consume(running: Simulated, host: str, **config: Any) -> float:
    async def read() -> float:
        consumer = await running.log(host, **config).consumer()
        await consumer.assign([TopicPartition("input", 0)])
        began, found = asyncio.get_running_loop().time(), 0
        while found < COUNT:
            found += len(await consumer.poll(timeout_ms=300))
        taken = asyncio.get_running_loop().time() - began
        await consumer.close()
        return taken

    taken: float = await running.on(host, read())
    return taken


async def altered(running: Simulated, entity: dict[str, str | None], **quotas: float) -> None:
    async def alter() -> None:
        brokers = running.cluster.topology.with_role("broker")
        session = Session("quotas", [Address(*running.cluster.address(b.name, client="k1")) for b in brokers])
        assert await alter_quotas(session, entity, quotas) == "none"
        await quotas_settled(session, entity, quotas)
        session.close()

    await running.on("k1", alter())


def throttled(running: Simulated) -> set[str]:
    return {event["client"] for event in running.events("client-throttled")}


def test_nobody_is_limited_by_default() -> None:
    async def scenario(running: Simulated) -> float:
        return await produce(running, "k1")

    assert simulate(scenario) < 2


def test_a_producer_is_slowed_down_to_its_rate() -> None:
    async def scenario(running: Simulated) -> tuple[float, int]:
        taken = await produce(running, "k1")
        return taken, len(running.events("isr-shrunk"))

    taken, shrunk = simulate(scenario, **SHORT_WINDOWS, **{"quota.producer.default": BOUND})
    assert 4 < taken < 9, "60 KB at 10 KB a second, the first second free"
    assert shrunk == 0, "replicas have no quota"


def test_a_consumer_is_slowed_down_to_its_rate_and_gets_everything() -> None:
    async def scenario(running: Simulated) -> float:
        await produce(running, "k1")
        return await consume(running, "k2")

    assert 3 < simulate(scenario, **SHORT_WINDOWS, **{"quota.consumer.default": BOUND}) < 12


def test_requests_are_slowed_down_to_their_share_of_a_thread() -> None:
    """100 µs each: ten a second at a tenth of a percent."""

    async def scenario(running: Simulated) -> float:
        return await produce(running, "k1")

    assert 3 < simulate(scenario, **SHORT_WINDOWS, **{"quota.request.percentage.default": 0.1}) < 12


@pytest.mark.parametrize("entity", [{"client-id": "k2"}, {"user": None, "client-id": "k2"}], ids=str)
def test_a_quota_limits_the_client_that_it_names(entity: dict[str, str | None]) -> None:
    async def scenario(running: Simulated) -> tuple[float, float, set[str]]:
        await altered(running, entity, producer_byte_rate=BOUND)
        limited = await produce(running, "k2")
        free = await produce(running, "k3")
        return limited, free, throttled(running)

    limited, free, clients = simulate(scenario, **SHORT_WINDOWS)
    assert limited > 4
    assert free < 2
    assert clients == {"k2"}


def test_a_users_quota_is_shared_by_his_clients() -> None:
    """Everybody is the same user here."""

    async def scenario(running: Simulated) -> set[str]:
        await altered(running, {"user": "ANONYMOUS"}, producer_byte_rate=BOUND)
        await asyncio.gather(produce(running, "k2"), produce(running, "k3"))
        return throttled(running)

    assert simulate(scenario, **SHORT_WINDOWS) == {"k2", "k3"}
