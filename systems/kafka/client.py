"""The clients of anything that speaks Kafka, by the capability that a workload asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.cluster import Cluster
from systems.kafka.aiokafka_client import AiokafkaLog

CAPABILITIES = frozenset({"log", "log-transactions", "groups"})


def client(capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> AiokafkaLog:
    """One object serves all three capabilities. Raises KeyError for any other."""
    if capability not in CAPABILITIES:
        raise KeyError(capability)
    brokers = cluster.topology.with_role("broker") or cluster.topology.nodes
    return AiokafkaLog([cluster.address(node.name, client=host) for node in brokers], host, config)
