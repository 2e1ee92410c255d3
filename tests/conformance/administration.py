"""What an administrator asks for: requests as in `requests.py`, for the scripts about topics, groups and clusters."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from kio.schema.errors import ErrorCode

from .session import GROUP, Answer, Session, settled

METADATA = 3
DESCRIBE_GROUPS, LIST_GROUPS = 15, 16
DELETE_TOPICS, DESCRIBE_CONFIGS, ALTER_CONFIGS, CREATE_PARTITIONS = 20, 32, 33, 37
DELETE_GROUPS, ELECT_LEADERS, INCREMENTAL_ALTER_CONFIGS, OFFSET_DELETE = 42, 43, 44, 47

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)
PREFERRED, UNCLEAN = 0, 1

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


# ── leaders ──────────────────────────────────────────────────────────────────────────────────────────────


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
