"""Whether a cluster serves, asked from outside: Metadata of every broker."""

from __future__ import annotations

import asyncio

import msgspec
from kio.schema.metadata.v12.request import MetadataRequest

from harness.cluster import Cluster
from systems.broker.channel import Channel

PROBE_HOST = "health-probe"
TIMEOUT_MS = 1000


class BrokerHealth(msgspec.Struct, frozen=True):
    """What one broker says of the cluster."""

    all_in_service: bool
    all_in_sync: bool


async def describe_brokers(cluster: Cluster) -> list[BrokerHealth | None]:
    """One for each broker, None for those that did not answer."""
    names = [node.name for node in cluster.topology.with_role("broker")]
    host = cluster.client_host(PROBE_HOST)
    answers = [host.spawn(_describe(cluster, name, len(names))) for name in names]
    return list(await asyncio.gather(*answers))


async def _describe(cluster: Cluster, name: str, brokers: int) -> BrokerHealth | None:
    channel = Channel(lambda: cluster.address(name, client=PROBE_HOST), client_id=PROBE_HOST)
    request = MetadataRequest(
        topics=None, allow_auto_topic_creation=False, include_topic_authorized_operations=False
    )
    try:
        response = await channel.call(request, timeout_ms=TIMEOUT_MS)
    except (OSError, TimeoutError):
        return None
    finally:
        channel.close()
    return BrokerHealth(
        all_in_service=len(response.brokers) == brokers,
        all_in_sync=all(
            partition.leader_id >= 0 and set(partition.isr_nodes) == set(partition.replica_nodes)
            for topic in response.topics
            for partition in topic.partitions
        ),
    )
