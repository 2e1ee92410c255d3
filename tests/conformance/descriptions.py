"""What a cluster says of itself: requests as in `requests.py`, about topics, directories, producers and transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from .session import TRANSACTION, Answer, Session

DESCRIBE_LOG_DIRS, DESCRIBE_CLUSTER, DESCRIBE_TOPIC_PARTITIONS = 35, 60, 75
DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, LIST_TRANSACTIONS = 61, 65, 66


def _code(kafka: Session, entry: Any) -> Any:
    return kafka.plain(entry.error_code)


async def describe_topic_partitions(
    kafka: Session, *topics: str, limit: int = 2000, cursor: tuple[str, int] | None = None
) -> Answer:
    """What depends on who leads is left out."""
    answer = await kafka.ask(
        kafka.any_node,
        DESCRIBE_TOPIC_PARTITIONS,
        0,
        topics=[{"name": topic} for topic in topics],
        response_partition_limit=limit,
        cursor=None if cursor is None else {"topic_name": cursor[0], "partition_index": cursor[1]},
    )
    return {
        "topics": [
            {
                "name": topic.name,
                "error_code": _code(kafka, topic),
                "internal": topic.is_internal,
                "partitions": [
                    {
                        "index": partition.partition_index,
                        "error_code": _code(kafka, partition),
                        "replicas": sorted(partition.replica_nodes),
                        "isr": sorted(partition.isr_nodes),
                        "elr": list(partition.eligible_leader_replicas),
                        "last known elr": list(partition.last_known_elr),
                        "offline": sorted(partition.offline_replicas),
                    }
                    for partition in topic.partitions
                ],
            }
            for topic in answer.topics
        ],
        "next": answer.next_cursor and [answer.next_cursor.topic_name, answer.next_cursor.partition_index],
    }


async def describe_cluster(kafka: Session, *, endpoint: int = 1, version: int = 1) -> Answer:
    answer = await kafka.ask(
        kafka.any_node,
        DESCRIBE_CLUSTER,
        version,
        include_cluster_authorized_operations=False,
        endpoint_type=endpoint,
    )
    return {
        "error_code": _code(kafka, answer),
        "brokers": sorted(broker.broker_id for broker in answer.brokers),
        "controller is one of them": answer.controller_id in [broker.broker_id for broker in answer.brokers],
    }


async def describe_log_dirs(kafka: Session, topics: Mapping[str, Sequence[int]] | None, node: int) -> Any:
    """How many directories, and of each partition its size and lag."""
    answer = await kafka.ask(
        node,
        DESCRIBE_LOG_DIRS,
        4,
        topics=None
        if topics is None
        else [{"topic": topic, "partitions": list(indexes)} for topic, indexes in topics.items()],
    )
    return {
        "error_code": _code(kafka, answer),
        "directories": [
            {
                "error_code": _code(kafka, directory),
                "partitions": {
                    f"{topic.name}/{partition.partition_index}": {
                        "size": partition.partition_size,
                        "lag": partition.offset_lag,
                        "future": partition.is_future_key,
                    }
                    for topic in sorted(directory.topics, key=lambda t: t.name)
                    for partition in sorted(topic.partitions, key=lambda p: p.partition_index)
                },
            }
            for directory in answer.results
        ],
    }


async def knows_its_space(kafka: Session, node: int) -> bool:
    answer = await kafka.ask(node, DESCRIBE_LOG_DIRS, 4, topics=[])
    return all(directory.total_bytes > 0 and directory.usable_bytes > 0 for directory in answer.results)


async def describe_producers(kafka: Session, topic: str, partition: int = 0, node: int | None = None) -> Any:
    answer = await kafka.ask(
        await kafka.leader(topic) if node is None else node,
        DESCRIBE_PRODUCERS,
        0,
        topics=[{"name": topic, "partition_indexes": [partition]}],
    )
    found = answer.topics[0].partitions[0]
    if found.error_code != ErrorCode.none:
        return _code(kafka, found)
    producers = [dict(kafka.plain(producer)) for producer in found.active_producers]
    return sorted(producers, key=lambda p: str(p["producer_id"]))


async def describe_transactions(kafka: Session, *names: str, node: int | None = None) -> list[Any]:
    coordinator = await kafka.coordinator(names[0], TRANSACTION) if node is None else node
    answer = await kafka.ask(coordinator, DESCRIBE_TRANSACTIONS, 0, transactional_ids=list(names))
    described = []
    for entry in answer.transaction_states:
        if entry.error_code != ErrorCode.none:
            described.append({"transactional_id": entry.transactional_id, "error_code": _code(kafka, entry)})
            continue
        started = entry.transaction_start_time
        described.append(
            {
                **{
                    name: kafka.plain(getattr(entry, name))
                    for name in ("transactional_id", "transaction_state", "producer_epoch")
                },
                "timeout_ms": kafka.plain(entry.transaction_timeout),
                "producer_id": kafka.named("producer", entry.producer_id),
                "began": started is not None and started.timestamp() > 0,
                "topics": {
                    t.topic: sorted(t.partitions) for t in sorted(entry.topics, key=lambda t: t.topic)
                },
            }
        )
    return described


async def list_transactions(
    kafka: Session,
    *,
    states: Sequence[str] = (),
    producers: Sequence[int] = (),
    duration_ms: int = -1,
) -> Any:
    """This script's transactions, at whichever node they are."""
    await kafka.metadata()
    listed = []
    unknown: set[str] = set()
    for node in kafka.nodes:
        answer = await kafka.ask(
            node,
            LIST_TRANSACTIONS,
            1,
            state_filters=list(states),
            producer_id_filters=list(producers),
            duration_filter=duration_ms,
        )
        if answer.error_code != ErrorCode.none:
            return _code(kafka, answer)
        unknown |= set(answer.unknown_state_filters)
        listed += [
            [entry.transactional_id, entry.transaction_state]
            for entry in answer.transaction_states
            if entry.transactional_id.startswith(kafka.own(""))
        ]
    return {"transactions": sorted(listed), "unknown states": sorted(unknown)}
