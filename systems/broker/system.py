"""The bundled Kafka-compatible broker as a system under test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from harness.catalogue import Entry
from harness.cluster import Cluster
from harness.errors import UserError
from harness.node import NodeEvent, NodeProgram
from harness.settings import Setting, Value
from harness.system import ClusterView
from harness.topology import NodeInfo, Topology
from systems.broker.bugs import BUGS
from systems.broker.catalogue import CATALOGUE
from systems.broker.health import describe_brokers
from systems.broker.message_kinds import REQUESTS, RESPONSES
from systems.broker.profiles import PROFILES
from systems.broker.promise import promise
from systems.broker.settings import SETTINGS
from systems.broker.situations import REACHED_BY, REACHED_WITH, SITUATIONS, count_situations
from systems.broker.view import BrokerView

BROKER_PORT = 9092
CONTROLLER_PORT = 9093
CONTROLLERS = 3
FIRST_CONTROLLER_ID = 101
POLL_S = 0.2


class BrokerSystem:
    """Registered as `broker` under `chaos.systems`."""

    description = "Kafka-compatible broker: KRaft-style controllers, replication, transactions, groups"
    capabilities = frozenset({"log", "log-transactions", "groups"})
    settings: tuple[Setting, ...] = SETTINGS
    profiles: Mapping[str, Mapping[str, Value]] = PROFILES
    playground: Mapping[str, Value] = {"auto.create.topics.enable": True}
    bugs: Mapping[str, str] = BUGS
    catalogue: Sequence[Entry] = CATALOGUE
    situations: Mapping[str, str] = SITUATIONS
    reached_by: Mapping[str, Sequence[str]] = REACHED_BY
    reached_with: Mapping[str, str] = REACHED_WITH

    @property
    def message_kinds(self) -> frozenset[str]:
        """Of the controllers' Raft, and of what brokers say to them and to each other."""
        from systems.broker.replica_logs import codec

        return codec.kinds.union(REQUESTS.values(), RESPONSES.values())

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        """`count` brokers, and the three controllers of every cluster."""
        brokers = (NodeInfo(f"b{i}", "broker", i, BROKER_PORT) for i in range(1, count + 1))
        controllers = (
            NodeInfo(f"c{i}", "controller", FIRST_CONTROLLER_ID + i - 1, CONTROLLER_PORT)
            for i in range(1, CONTROLLERS + 1)
        )
        return (*brokers, *controllers)

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        brokers = len(topology.with_role("broker"))
        factor = config["replication.factor"]
        min_isr = config["min.insync.replicas"]
        if factor > brokers:
            raise UserError(
                f"replication.factor={factor} needs as many brokers, there are {brokers}: "
                f"give --nodes {factor} or --set replication.factor={brokers}"
            )
        if min_isr > factor:
            raise UserError(
                f"min.insync.replicas={min_isr} can never be met with replication.factor={factor}: "
                f"give --set min.insync.replicas={factor} or less"
            )
        if config["broker.heartbeat.interval.ms"] >= config["broker.session.timeout.ms"]:
            raise UserError(
                f"broker.heartbeat.interval.ms={config['broker.heartbeat.interval.ms']} must be below "
                f"broker.session.timeout.ms={config['broker.session.timeout.ms']}, or every broker is fenced"
            )
        if 2 * config["broker.heartbeat.interval.ms"] > config["broker.session.timeout.ms"]:
            raise UserError(
                f"broker.heartbeat.interval.ms={config['broker.heartbeat.interval.ms']} leaves coordinators "
                "without a lease between two heartbeats: give at most half of "
                f"broker.session.timeout.ms={config['broker.session.timeout.ms']}"
            )
        if config["transaction.timeout.ms"] > config["transaction.max.timeout.ms"]:
            raise UserError(
                f"transaction.timeout.ms={config['transaction.timeout.ms']} is above "
                f"transaction.max.timeout.ms={config['transaction.max.timeout.ms']}: raise that one too"
            )

    def program(self) -> NodeProgram:
        from systems.broker.node import run_broker_node

        return run_broker_node

    def command(self) -> Sequence[str]:
        return ("-m", "systems.broker")

    def view(self, topology: Topology) -> ClusterView:
        return BrokerView(topology)

    async def ready(self, cluster: Cluster) -> None:
        """Every broker answers and knows every other one in service."""
        await self._until(cluster, whole=False)

    async def recovered(self, cluster: Cluster) -> None:
        """Besides, every partition has a leader and all its replicas in sync, as every broker sees it."""
        await self._until(cluster, whole=True)

    async def _until(self, cluster: Cluster, *, whole: bool) -> None:
        while True:
            states = await describe_brokers(cluster)
            if all(s is not None and s.all_in_service and (s.all_in_sync or not whole) for s in states):
                return
            await asyncio.sleep(POLL_S)

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        from systems.kafka.client import client

        return client(capability, cluster, host, config)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        return count_situations(events)

    def promise(self, config: Mapping[str, Any]) -> str:
        return promise(config)
