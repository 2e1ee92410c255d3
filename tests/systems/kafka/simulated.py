"""Client code run on its own host against a simulated broker cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from harness.capabilities import Consumer, Record, TopicPartition
from harness.clusters.sim import SimBackend
from harness.settings import resolve
from harness.sim.settings import SETTINGS as SIM_SETTINGS
from harness.topology import Topology
from systems.broker.system import BrokerSystem
from systems.kafka.aiokafka_client import AiokafkaLog

LIMIT_S = 300.0


class Simulated:
    """What a test's client code gets: the cluster, and a `log` for each client host."""

    def __init__(self, cluster: Any, system: BrokerSystem, config: dict[str, Any]) -> None:
        self.cluster = cluster
        self._system = system
        self._config = config

    def log(self, host: str = "k1", **config: Any) -> AiokafkaLog:
        log: AiokafkaLog = self._system.client("log", self.cluster, host, self._config | config)
        return log

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event.fields for event in self.cluster.events if event.kind == kind]

    def on(self, host: str, work: Awaitable[Any]) -> Awaitable[Any]:
        return self.cluster.client_host(host).spawn(work)

    def leader_of(self, partition: str) -> str:
        """By what the nodes have said."""
        newest = [e for e in self.events("leader-elected") if e["partition"] == partition]
        return str(newest[-1]["leader"])


def simulate(
    work: Callable[[Simulated], Awaitable[Any]],
    *,
    seed: int = 1,
    bugs: frozenset[str] = frozenset(),
    **given: Any,
) -> Any:
    """Runs `work` on host `harness` of a three-broker cluster that is ready; topics `input` and `output`
    have two partitions each."""
    system = BrokerSystem()
    # Records made by hand carry a fixed timestamp of long ago.
    config = resolve((*system.settings, *SIM_SETTINGS), {"log.retention.ms": -1, **given})
    topology = Topology(system.nodes(3, config), clients=("k1", "k2", "k3"))

    async def scenario(cluster: Any) -> Any:
        await cluster.start()
        simulated = Simulated(cluster, system, config)

        async def topics() -> None:
            for topic in ("input", "output"):
                await simulated.log().create_topic(topic, partitions=2, replication_factor=3)

        async with asyncio.timeout(LIMIT_S):
            await system.ready(cluster)
            await simulated.on("k1", topics())
            return await work(simulated)

    return SimBackend().run(
        scenario, system=system, topology=topology, config=config, bugs=bugs, seed=seed, folder=None
    )


async def read_all(log: AiokafkaLog, topic: str, isolation: str | None = None) -> list[str]:
    """Every value up to the end offset, partition by partition."""
    consumer = await log.consumer(isolation=isolation)
    partitions = [TopicPartition(topic, index) for index in range(2)]
    await consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    found: list[Record] = []
    while any([await consumer.position(p) < ends[p] for p in partitions]):
        found += await consumer.poll(timeout_ms=300)
    await consumer.close()
    return [r.value.decode() for r in sorted(found, key=lambda r: (r.partition, r.offset))]


async def poll(consumer: Consumer, count: int) -> list[Record]:
    """As many records as asked for."""
    found: list[Record] = []
    while len(found) < count:
        found += await consumer.poll(timeout_ms=300, max_records=count - len(found))
    return found
