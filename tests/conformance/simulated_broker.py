"""The bundled broker, three brokers and their controllers, in simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from harness.cluster import Cluster
from harness.clusters.sim import SimBackend
from harness.registry import load
from harness.settings import Value, resolve
from harness.sim.settings import SETTINGS as SIM_SETTINGS
from harness.topology import Topology

T = TypeVar("T")

CLIENTS = ("host-1", "host-2")
START_TIMEOUT_S = 60.0

LIKE_THE_REAL_ONE: Mapping[str, Value] = {
    # Records made by hand carry a fixed timestamp of long ago; Kafka first looks after 30 seconds.
    "log.retention.check.interval.ms": 300_000,
    "log.retention.ms": -1,
    "group.initial.rebalance.delay.ms": 0,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
}
"""As `apache_kafka` configures its nodes."""


def simulated(scenario: Callable[[Cluster, dict[str, Any]], Awaitable[T]], given: Mapping[str, Value]) -> T:
    """Runs the scenario on a cluster that serves; it gets the resolved settings, too."""
    system = load("systems", "broker")
    config: dict[str, Any] = dict(resolve((*system.settings, *SIM_SETTINGS), {**LIKE_THE_REAL_ONE, **given}))
    topology = Topology(nodes=system.nodes(3, config), clients=CLIENTS)

    async def run(cluster: Cluster) -> T:
        await cluster.start()
        async with asyncio.timeout(START_TIMEOUT_S):
            await system.ready(cluster)
        outcome = await scenario(cluster, config)
        await cluster.stop()
        return outcome

    return SimBackend().run(
        run, system=system, topology=topology, config=config, bugs=frozenset(), seed=1, folder=None
    )
