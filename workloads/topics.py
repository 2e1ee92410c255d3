"""Creating a workload's topics before the run."""

from __future__ import annotations

from collections.abc import Mapping

from harness.capabilities import Log
from harness.workload import Test


async def create_topics(
    test: Test, topics: Mapping[str, int], config: Mapping[str, str] | None = None
) -> None:
    """Topic -> partitions, replicated as `replication.factor` asks (by default on all brokers, three at most).
    `config` has the topics' own keys.

    It is done from a client host, whose process ends with it.
    """
    brokers = len(test.topology.with_role("broker")) or len(test.topology.nodes)
    factor = int(test.config.get("replication.factor", min(3, brokers)))
    name = test.topology.clients[0] if test.topology.clients else "client-0"
    host = test.cluster.client_host(name)

    async def create() -> None:
        log: Log = test.system.client("log", test.cluster, name, test.config)
        for topic, partitions in topics.items():
            await log.create_topic(topic, partitions=partitions, replication_factor=factor, config=config)

    await host.spawn(create())
    await host.kill()
