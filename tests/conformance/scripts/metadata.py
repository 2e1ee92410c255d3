"""What exists, what may be created, who coordinates, and which versions are spoken."""

from __future__ import annotations

import asyncio
import datetime
import struct
import uuid
from typing import Any

from ..requests import METADATA
from ..session import CREATE_TOPICS, FIND_COORDINATOR, GROUP, TRANSACTION, Answer, Session

API_VERSIONS = 18


async def topics(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    found, missing = (await kafka.metadata(topic, kafka.own("nothing"))).topics
    return {
        "known": {
            "error_code": kafka.plain(found.error_code),
            "is_internal": found.is_internal,
            "partitions": [
                {
                    "error_code": kafka.plain(partition.error_code),
                    "index": partition.partition_index,
                    "replicas": sorted(partition.replica_nodes),
                    "isr": sorted(partition.isr_nodes),
                    "offline": sorted(partition.offline_replicas),
                    "leader is a replica": partition.leader_id in partition.replica_nodes,
                }
                for partition in sorted(found.partitions, key=lambda p: p.partition_index)
            ],
        },
        "unknown": kafka.plain(missing),
    }


async def topics_by_id(kafka: Session) -> Answer:
    answer = await kafka.ask(
        kafka.any_node,
        METADATA,
        12,
        topics=[{"topic_id": uuid.UUID(int=4711), "name": None}],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=False,
    )
    return {"unknown": kafka.plain(answer.topics)}


async def brokers(kafka: Session) -> Answer:
    found = await kafka.metadata()
    return {
        "brokers": sorted(broker.node_id for broker in found.brokers),
        "controller is one of them": found.controller_id in [broker.node_id for broker in found.brokers],
    }


async def creating(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    return {
        "again": await _create(kafka, topic),
        "replication factor 4": await _create(kafka, kafka.own("u"), replication_factor=4),
        "replication factor 0": await _create(kafka, kafka.own("u"), replication_factor=0),
        "no partitions": await _create(kafka, kafka.own("u"), partitions=0),
        "by default": await _create(kafka, kafka.own("v"), partitions=-1, replication_factor=-1),
        "a bad name": await _create(kafka, "so/so"),
        "no name": await _create(kafka, ""),
        "a long name": await _create(kafka, "x" * 250),
        "an unknown key": await _create(kafka, kafka.own("w"), config={"no.such.key": "1"}),
        "a bad value": await _create(kafka, kafka.own("w"), config={"min.insync.replicas": "many"}),
        "only validated": await _create(kafka, kafka.own("x"), validate_only=True),
        "not created": kafka.plain((await kafka.metadata(kafka.own("x"))).topics[0].error_code),
    }


async def _create(
    kafka: Session,
    name: str,
    *,
    partitions: int = 1,
    replication_factor: int = 3,
    config: dict[str, str] | None = None,
    validate_only: bool = False,
) -> Any:
    answer = await kafka.ask(
        kafka.any_node,
        CREATE_TOPICS,
        6,
        topics=[
            {
                "name": name,
                "num_partitions": partitions,
                "replication_factor": replication_factor,
                "assignments": [],
                "configs": [{"name": key, "value": value} for key, value in (config or {}).items()],
            }
        ],
        timeout=datetime.timedelta(seconds=5),
        validate_only=validate_only,
    )
    (topic,) = answer.topics
    return {
        "error_code": kafka.plain(topic.error_code),
        "num_partitions": topic.num_partitions,
        "replication_factor": topic.replication_factor,
    }


async def coordinators(kafka: Session) -> Answer:
    await kafka.coordinator("g", GROUP)
    await kafka.coordinator("t", TRANSACTION)

    async def find(key_type: int, *keys: str) -> Any:
        answer = await kafka.ask(
            kafka.any_node, FIND_COORDINATOR, 4, key_type=key_type, coordinator_keys=list(keys)
        )
        return [
            {"key": entry.key, "error_code": kafka.plain(entry.error_code), "found": entry.node_id > 0}
            for entry in answer.coordinators
        ]

    return {
        "groups": await find(GROUP, "g", "h"),
        "transactions": await find(TRANSACTION, "t"),
        "no key type": await find(9, "g"),
    }


async def versions_too_new(kafka: Session) -> Answer:
    """A client from the future: ApiVersions v99 is answered in version 0, whatever its body holds."""
    await kafka.metadata()
    address = kafka.address(kafka.any_node)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        frame = struct.pack(">hhih", API_VERSIONS, 99, 77, -1) + b"\0\4\1\2\3"
        writer.write(struct.pack(">i", len(frame)) + frame)
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answer = await reader.readexactly(size)
    finally:
        writer.close()
    correlation_id, error, count = struct.unpack_from(">ihi", answer)
    keys = [struct.unpack_from(">hhh", answer, 10 + 6 * i) for i in range(count)]
    return {
        "correlation id": correlation_id,
        "error": error,
        "size fits version 0": len(answer) == 10 + 6 * count,
        "ApiVersions from": [lowest for key, lowest, _ in keys if key == API_VERSIONS],
        "only ApiVersions": count == 1,
    }


async def features(kafka: Session) -> Answer:
    """The finalized features that clients act on."""
    answer = await kafka.ask(
        kafka.any_node,
        API_VERSIONS,
        3,
        client_software_name="conformance",
        client_software_version="1",
    )
    return {
        "error_code": kafka.plain(answer.error_code),
        "finalized": {
            feature.name: [feature.min_version_level, feature.max_version_level]
            for feature in answer.finalized_features
            if feature.name in ("transaction.version", "eligible.leader.replicas.version")
        },
        "an epoch is given": answer.finalized_features_epoch >= 0,
    }


async def client_names_are_checked(kafka: Session) -> Answer:
    answer = await kafka.ask(
        kafka.any_node, API_VERSIONS, 3, client_software_name="not a name!", client_software_version="1"
    )
    return {"error_code": kafka.plain(answer.error_code)}
