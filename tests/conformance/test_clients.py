"""Our clients with the bundled broker and with Apache Kafka: one that works with the real thing is right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from harness.cluster import Cluster
from harness.node import Address
from systems.kafka.aiokafka_client import AiokafkaLog
from systems.kafka.client import client

from .apache_kafka import MISSING, apache_kafka
from .client_scenarios import SCENARIOS, Scenario
from .simulated_broker import CLIENTS, simulated

PATIENCE_S = 60.0
"""Simulated or real seconds for one scenario."""


def name(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("transaction_version", [1, 2])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=name)
def test_with_the_bundled_broker(scenario: Scenario, transaction_version: int) -> None:
    async def run(cluster: Cluster, config: dict[str, Any]) -> None:
        host = cluster.client_host(CLIENTS[0])
        async with asyncio.timeout(PATIENCE_S):
            await host.spawn(scenario(lambda name: client("log", cluster, name, config)))

    simulated(run, {"transaction.version": transaction_version})


@pytest.fixture(scope="module")
def kafka() -> Iterator[list[Address]]:
    with apache_kafka() as addresses:
        yield addresses


@pytest.mark.real
@pytest.mark.skipif(bool(MISSING), reason=f"a real Kafka needs {' and '.join(MISSING)}")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=name)
def test_with_apache_kafka(scenario: Scenario, kafka: list[Address]) -> None:
    asyncio.run(asyncio.wait_for(scenario(lambda host: AiokafkaLog(kafka, host, {})), PATIENCE_S))
