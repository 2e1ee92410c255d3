"""What an administrator asks for: requests as in `requests.py`, for the scripts about topics, groups and clusters."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from kio.schema.errors import ErrorCode

from .session import GROUP, TRANSACTION, Answer, Session, settled

METADATA = 3
DESCRIBE_GROUPS, LIST_GROUPS = 15, 16
DELETE_TOPICS, DESCRIBE_CONFIGS, ALTER_CONFIGS, DESCRIBE_LOG_DIRS, CREATE_PARTITIONS = 20, 32, 33, 35, 37
DELETE_GROUPS, ELECT_LEADERS, INCREMENTAL_ALTER_CONFIGS, OFFSET_DELETE = 42, 43, 44, 47
DESCRIBE_CLIENT_QUOTAS, ALTER_CLIENT_QUOTAS = 48, 49
DESCRIBE_TOPIC_PARTITIONS = 75
DESCRIBE_CLUSTER, DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, LIST_TRANSACTIONS = 60, 61, 65, 66

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)
PREFERRED, UNCLEAN = 0, 1
EXACT, DEFAULT, ANY = range(3)

_FIVE_SECONDS = datetime.timedelta(seconds=5)


def _code(kafka: Session, entry: Any) -> Any:
    return kafka.plain(entry.error_code)


# ── topics ───────────────────────────────────────────────────────────────────────────────────────────────


async def delete_topics(kafka: Session, *names: str, version: int = 5) -> list[Any]:
    wanted: dict[str, Any] = (
        {"topics": [{"name": name, "topic_id": None} for name in names]}
        if version >= 6
        else {"topic_names": list(names)}
    )
    answer = await kafka.ask(kafka.any_node, DELETE_TOPICS, version, **wanted, timeout=_FIVE_SECONDS)
    return [
        [entry.name, _code(kafka, entry)] for entry in sorted(answer.responses, key=lambda e: e.name or "")
    ]


async def delete_topics_by_id(kafka: Session, *ids: uuid.UUID) -> list[Any]:
    topics = [{"name": None, "topic_id": one} for one in ids]
    answer = await kafka.ask(kafka.any_node, DELETE_TOPICS, 6, topics=topics, timeout=_FIVE_SECONDS)
    return [[entry.name, _code(kafka, entry)] for entry in answer.responses]


async def gone(kafka: Session, topic: str) -> str:
    """What a deleted topic is from the outside once every node has heard of it."""
    await kafka.metadata()

    async def unknown() -> str | None:
        for node in kafka.nodes:
            answer = await kafka.ask(
                node,
                METADATA,
                9,
                topics=[{"name": topic}],
                allow_auto_topic_creation=False,
                include_cluster_authorized_operations=False,
                include_topic_authorized_operations=False,
            )
            if answer.topics[0].error_code == ErrorCode.none:
                return None
        return str(kafka.plain(answer.topics[0].error_code))

    return str(await settled(unknown, f"{topic} is still there"))


async def create_partitions(
    kafka: Session,
    topic: str,
    count: int,
    *,
    assignments: Sequence[Sequence[int]] | None = None,
    validate_only: bool = False,
) -> Any:
    answer = await kafka.ask(
        kafka.any_node,
        CREATE_PARTITIONS,
        3,
        topics=[
            {
                "name": topic,
                "count": count,
                "assignments": None
                if assignments is None
                else [{"broker_ids": list(replicas)} for replicas in assignments],
            }
        ],
        timeout=_FIVE_SECONDS,
        validate_only=validate_only,
    )
    (entry,) = answer.results
    return _code(kafka, entry)


async def partition_count(kafka: Session, topic: str, expected: int) -> int:
    """Once it is what is expected."""

    async def counted() -> int | None:
        (found,) = (await kafka.metadata(topic)).topics
        return len(found.partitions) if len(found.partitions) == expected else None

    return int(await settled(counted, f"{topic} does not get {expected} partitions"))


# ── configuration ────────────────────────────────────────────────────────────────────────────────────────


async def describe_configs(
    kafka: Session,
    kind: int,
    name: str,
    *keys: str,
    everything: bool = False,
    synonyms: bool = False,
    version: int = 4,
    node: int | None = None,
) -> Answer:
    answer = await kafka.ask(
        kafka.any_node if node is None else node,
        DESCRIBE_CONFIGS,
        version,
        resources=[
            {
                "resource_type": kind,
                "resource_name": name,
                "configuration_keys": None if everything else list(keys),
            }
        ],
        include_synonyms=synonyms,
        include_documentation=False,
    )
    (found,) = answer.results
    if found.error_code != ErrorCode.none:
        return {"error_code": _code(kafka, found)}
    return {entry.name: _entry(kafka, entry) for entry in sorted(found.configs, key=lambda e: e.name)}


def _entry(kafka: Session, entry: Any) -> Answer:
    plain = dict(kafka.plain(entry))
    del plain["name"]
    plain.pop("documentation", None)
    return plain


async def alter_configs(
    kafka: Session, kind: int, name: str, config: Mapping[str, str | None], *, validate_only: bool = False
) -> Any:
    """AlterConfigs: the old way, in which what is not named goes back to its default."""
    answer = await kafka.ask(
        kafka.any_node,
        ALTER_CONFIGS,
        2,
        resources=[
            {
                "resource_type": kind,
                "resource_name": name,
                "configs": [{"name": key, "value": value} for key, value in config.items()],
            }
        ],
        validate_only=validate_only,
    )
    (entry,) = answer.responses
    return _code(kafka, entry)


async def change_configs(
    kafka: Session, kind: int, name: str, *changes: tuple[int, str, str | None], validate_only: bool = False
) -> Any:
    """IncrementalAlterConfigs; a change is (operation, key, value)."""
    answer = await kafka.ask(
        kafka.any_node,
        INCREMENTAL_ALTER_CONFIGS,
        1,
        resources=[
            {
                "resource_type": kind,
                "resource_name": name,
                "configs": [
                    {"name": key, "config_operation": operation, "value": value}
                    for operation, key, value in changes
                ],
            }
        ],
        validate_only=validate_only,
    )
    (entry,) = answer.responses
    return _code(kafka, entry)


async def configured(kafka: Session, topic: str, key: str, value: str) -> Answer:
    """The key's description once every node says that this is its value: a change travels to them."""
    await kafka.metadata()
    found: Answer = {}

    async def known(node: int) -> bool | None:
        nonlocal found
        found = await describe_configs(kafka, TOPIC, topic, key, node=node)
        return True if found[key]["value"] == value else None

    for node in kafka.nodes:
        await settled(partial(known, node), f"{key} does not become {value}")
    return dict(found[key])


# ── leaders and directories ──────────────────────────────────────────────────────────────────────────────


async def elect_leaders(
    kafka: Session, partitions: Mapping[str, Sequence[int]] | None, kind: int = PREFERRED
) -> Answer:
    answer = await kafka.ask(
        kafka.any_node,
        ELECT_LEADERS,
        2,
        election_type=kind,
        topic_partitions=None
        if partitions is None
        else [{"topic": topic, "partitions": list(indexes)} for topic, indexes in partitions.items()],
        timeout=_FIVE_SECONDS,
    )
    return {
        "error_code": _code(kafka, answer),
        "partitions": {
            f"{topic.topic}/{partition.partition_id}": _code(kafka, partition)
            for topic in sorted(answer.replica_election_results, key=lambda t: t.topic)
            for partition in topic.partition_result
        },
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


# ── groups ───────────────────────────────────────────────────────────────────────────────────────────────


async def describe_groups(
    kafka: Session, *groups: str, version: int = 5, node: int | None = None
) -> list[Any]:
    coordinator = await kafka.coordinator(groups[0], GROUP) if node is None else node
    answer = await kafka.ask(
        coordinator, DESCRIBE_GROUPS, version, groups=list(groups), include_authorized_operations=False
    )
    described = []
    for group in answer.groups:
        plain = dict(kafka.plain(group))
        plain.pop("authorized_operations", None)
        for member in plain["members"]:
            member["client_host"] = member["client_host"].startswith("/")
        described.append(plain)
    return described


async def list_groups(
    kafka: Session, *, states: Sequence[str] = (), types: Sequence[str] = (), version: int = 5
) -> list[Any]:
    """This script's groups, at whichever node they are."""
    await kafka.metadata()
    listed = []
    for node in kafka.nodes:
        filters: dict[str, Any] = {"states_filter": list(states), "types_filter": list(types)}
        answer = await kafka.ask(node, LIST_GROUPS, version, **filters)
        if answer.error_code != ErrorCode.none:
            return [_code(kafka, answer)]
        listed += [dict(kafka.plain(group)) for group in answer.groups]
    return sorted(
        (group for group in listed if group["group_id"].startswith(kafka.own(""))),
        key=lambda g: g["group_id"],
    )


async def delete_groups(kafka: Session, *groups: str, node: int | None = None) -> Answer:
    coordinator = await kafka.coordinator(groups[0], GROUP) if node is None else node
    answer = await kafka.ask(coordinator, DELETE_GROUPS, 2, groups_names=list(groups))
    return {entry.group_id: _code(kafka, entry) for entry in answer.results}


async def delete_offsets(
    kafka: Session, group: str, partitions: Mapping[str, Sequence[int]], *, node: int | None = None
) -> Answer:
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP) if node is None else node,
        OFFSET_DELETE,
        0,
        group_id=group,
        topics=[
            {"name": topic, "partitions": [{"partition_index": index} for index in indexes]}
            for topic, indexes in partitions.items()
        ],
    )
    return {
        "error_code": _code(kafka, answer),
        "partitions": {
            f"{topic.name}/{partition.partition_index}": _code(kafka, partition)
            for topic in sorted(answer.topics, key=lambda t: t.name)
            for partition in topic.partitions
        },
    }


# ── producers and transactions ───────────────────────────────────────────────────────────────────────────


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


# ── quotas ───────────────────────────────────────────────────────────────────────────────────────────────

Entity = Mapping[str, str | None]
"""`client-id` or `user` -> a name, or None for whoever has none of his own."""


async def alter_quotas(
    kafka: Session, entity: Entity, quotas: Mapping[str, float | None], *, validate_only: bool = False
) -> Any:
    """A quota of None is removed."""
    answer = await kafka.ask(
        kafka.any_node,
        ALTER_CLIENT_QUOTAS,
        1,
        entries=[
            {
                "entity": [{"entity_type": kind, "entity_name": name} for kind, name in entity.items()],
                "ops": [
                    {"key": key, "value": 0.0 if value is None else value, "remove": value is None}
                    for key, value in quotas.items()
                ],
            }
        ],
        validate_only=validate_only,
    )
    (entry,) = answer.entries
    return _code(kafka, entry)


async def describe_quotas(
    kafka: Session, *components: tuple[str, int, str | None], strict: bool = False
) -> Any:
    """Each component is (entity type, how it matches, name)."""
    answer = await kafka.ask(
        kafka.any_node,
        DESCRIBE_CLIENT_QUOTAS,
        1,
        components=[
            {"entity_type": kind, "match_type": match, "match": name} for kind, match, name in components
        ],
        strict=strict,
    )
    if answer.error_code != ErrorCode.none:
        return _code(kafka, answer)
    return sorted(
        (
            [
                {
                    part.entity_type: part.entity_name
                    for part in sorted(e.entity, key=lambda p: p.entity_type)
                },
                {value.key: value.value for value in sorted(e.values, key=lambda v: v.key)},
            ]
            for e in answer.entries
        ),
        key=str,
    )


async def quotas_settled(kafka: Session, entity: Entity, quotas: Mapping[str, float]) -> None:
    """Returns once every node has heard that these are the entity's."""
    await kafka.metadata()

    async def known() -> bool | None:
        for node in kafka.nodes:
            answer = await kafka.ask(
                node,
                DESCRIBE_CLIENT_QUOTAS,
                1,
                components=[
                    {
                        "entity_type": kind,
                        "match_type": DEFAULT if name is None else EXACT,
                        "match": name,
                    }
                    for kind, name in entity.items()
                ],
                strict=True,
            )
            found = {value.key: value.value for entry in answer.entries or () for value in entry.values}
            if found != dict(quotas):
                return None
        return True

    await settled(known, f"{entity} does not get {quotas}")


# ── page by page ─────────────────────────────────────────────────────────────────────────────────────────


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
