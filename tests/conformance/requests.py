"""The requests that scripts are made of: each sends one message to the right node and returns its plain answer.

Only the part of the answer that concerns the one partition, group or transaction asked about comes back.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from .batches import Producer
from .session import GROUP, TRANSACTION, Answer, Session, settled, topic_id_of

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
OFFSET_COMMIT, OFFSET_FETCH = 8, 9
JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 11, 12, 13, 14
DELETE_RECORDS = 21
INIT_PRODUCER_ID, OFFSET_FOR_LEADER_EPOCH = 22, 23
ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT = 24, 25, 26, 28

LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3
READ_UNCOMMITTED, READ_COMMITTED = 0, 1

NO_SESSION = (0, -1)

_INDEXES = ("index", "partition_index", "partition")


def _ms(value: int) -> datetime.timedelta:
    return datetime.timedelta(milliseconds=value)


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────


async def produce(
    kafka: Session,
    topic: str,
    records: bytes,
    *,
    version: int = 9,
    partition: int = 0,
    acks: int = -1,
    transactional_id: str | None = None,
    node: int | None = None,
    lane: str = "",
) -> Answer:
    answer = await kafka.ask(
        await kafka.leader(topic) if node is None else node,
        PRODUCE,
        version,
        lane=lane,
        transactional_id=transactional_id,
        acks=acks,
        timeout=_ms(5000),
        topic_data=[{"name": topic, "partition_data": [{"index": partition, "records": records}]}],
    )
    return _single(kafka, answer, "responses", "partition_responses")


async def fetch(
    kafka: Session,
    topic: str,
    offset: int,
    *,
    partition: int = 0,
    isolation: int = READ_UNCOMMITTED,
    leader_epoch: int = -1,
    last_fetched_epoch: int = -1,
    node: int | None = None,
    max_wait_ms: int = 0,
    partition_max_bytes: int = 1_000_000,
    session: tuple[int, int] = NO_SESSION,
    lane: str = "",
) -> Answer:
    """A consumer's fetch (v12); `session` is (id, epoch)."""
    wanted = {
        "partition": partition,
        "current_leader_epoch": leader_epoch,
        "fetch_offset": offset,
        "last_fetched_epoch": last_fetched_epoch,
        "log_start_offset": -1,
        "partition_max_bytes": partition_max_bytes,
    }
    answer = await kafka.ask(
        await kafka.leader(topic) if node is None else node,
        FETCH,
        12,
        lane=lane,
        **fetch_fields(max_wait_ms, isolation, session),
        replica_id=-1,
        topics=[{"topic": topic, "partitions": [wanted]}],
    )
    return _fetched(kafka, answer)


async def fetch_by_id(kafka: Session, topic_id: uuid.UUID, offset: int, *, node: int) -> Answer:
    """A consumer's fetch (v13), which names the topic by its id."""
    wanted = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1_000_000}
    answer = await kafka.ask(
        node,
        FETCH,
        13,
        **fetch_fields(0, READ_UNCOMMITTED),
        replica_id=-1,
        topics=[{"topic_id": topic_id, "partitions": [wanted]}],
    )
    return _fetched(kafka, answer)


async def topic_id(kafka: Session, topic: str) -> uuid.UUID:
    return topic_id_of(
        await kafka.ask(
            kafka.any_node,
            METADATA,
            10,
            topics=[{"topic_id": uuid.UUID(int=0), "name": topic}],
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
        )
    )


async def delete_records(
    kafka: Session, topic: str, offset: int, *, partition: int = 0, node: int | None = None
) -> Answer:
    answer = await kafka.ask(
        await kafka.leader(topic) if node is None else node,
        DELETE_RECORDS,
        2,
        topics=[{"name": topic, "partitions": [{"partition_index": partition, "offset": offset}]}],
        timeout=_ms(5000),
    )
    return _single(kafka, answer, "topics", "partitions")


def fetch_fields(max_wait_ms: int, isolation: int, session: tuple[int, int] = NO_SESSION) -> dict[str, Any]:
    return {
        "max_wait": _ms(max_wait_ms),
        "min_bytes": 1,
        "max_bytes": 10_000_000,
        "isolation_level": isolation,
        "session_id": session[0],
        "session_epoch": session[1],
        "forgotten_topics_data": [],
        "rack_id": "",
    }


def _fetched(kafka: Session, answer: Any) -> Answer:
    if not answer.responses:
        return {"error_code": kafka.plain(answer.error_code)}
    return _single(kafka, answer, "responses", "partitions")


async def list_offsets(
    kafka: Session,
    topic: str,
    timestamp: int,
    *,
    version: int = 7,
    partition: int = 0,
    isolation: int = READ_UNCOMMITTED,
    leader_epoch: int = -1,
    node: int | None = None,
) -> Answer:
    wanted = {
        "partition_index": partition,
        "current_leader_epoch": leader_epoch,
        "timestamp": timestamp,
    }
    answer = await kafka.ask(
        await kafka.leader(topic) if node is None else node,
        LIST_OFFSETS,
        version,
        replica_id=-1,
        isolation_level=isolation,
        topics=[{"name": topic, "partitions": [wanted]}],
        timeout=_ms(5000),
    )
    return _single(kafka, answer, "topics", "partitions")


async def epoch_end(kafka: Session, topic: str, epoch: int, *, current_epoch: int = -1) -> Answer:
    """Where a leader epoch ends (OffsetForLeaderEpoch v4)."""
    wanted = {"partition": 0, "current_leader_epoch": current_epoch, "leader_epoch": epoch}
    answer = await kafka.ask(
        await kafka.leader(topic),
        OFFSET_FOR_LEADER_EPOCH,
        4,
        replica_id=-1,
        topics=[{"topic": topic, "partitions": [wanted]}],
    )
    return _single(kafka, answer, "topics", "partitions")


# ── producers and transactions ───────────────────────────────────────────────────────────────────────────


async def init_producer_id(
    kafka: Session,
    transactional_id: str | None = None,
    *,
    version: int = 4,
    current: Producer | None = None,
    timeout_ms: int = 60_000,
    node: int | None = None,
) -> tuple[Producer, Answer]:
    """The producer in its raw ids, for further requests, and the plain answer. Asks again while the node
    has no block of ids yet."""
    if node is None and transactional_id:
        node = await kafka.coordinator(transactional_id, TRANSACTION)
    asked = kafka.any_node if node is None else node
    id_, epoch = current or (-1, -1)

    async def attempt() -> Any:
        answer = await kafka.ask(
            asked,
            INIT_PRODUCER_ID,
            version,
            transactional_id=transactional_id,
            transaction_timeout=_ms(timeout_ms),
            producer_id=id_,
            producer_epoch=epoch,
        )
        return None if answer.error_code == ErrorCode.coordinator_load_in_progress else answer

    answer = await settled(attempt, "no producer ids")
    return Producer(answer.producer_id, answer.producer_epoch), kafka.plain(answer)


async def add_partitions(
    kafka: Session, transactional_id: str, producer: Producer, topics: Mapping[str, Sequence[int]]
) -> Answer:
    """AddPartitionsToTxn v3, a client's: `{"topic/partition": error}`, or one error where all are the same."""
    answer = await kafka.ask(
        await kafka.coordinator(transactional_id, TRANSACTION),
        ADD_PARTITIONS_TO_TXN,
        3,
        v3_and_below_transactional_id=transactional_id,
        v3_and_below_producer_id=producer.id,
        v3_and_below_producer_epoch=producer.epoch,
        v3_and_below_topics=[{"name": name, "partitions": list(indexes)} for name, indexes in topics.items()],
    )
    return {
        f"{topic.name}/{partition.partition_index}": kafka.plain(partition.partition_error_code)
        for topic in answer.results_by_topic_v3_and_below
        for partition in topic.results_by_partition
    }


async def add_offsets(kafka: Session, transactional_id: str, producer: Producer, group: str) -> Answer:
    answer = await kafka.ask(
        await kafka.coordinator(transactional_id, TRANSACTION),
        ADD_OFFSETS_TO_TXN,
        3,
        transactional_id=transactional_id,
        producer_id=producer.id,
        producer_epoch=producer.epoch,
        group_id=group,
    )
    return dict(kafka.plain(answer))


async def end_txn(
    kafka: Session,
    transactional_id: str,
    producer: Producer,
    *,
    commit: bool,
    version: int,
    node: int | None = None,
) -> tuple[Producer, Answer]:
    """The producer for the next transaction (its epoch raised by v5) and the plain answer."""
    answer = await kafka.ask(
        await kafka.coordinator(transactional_id, TRANSACTION) if node is None else node,
        END_TXN,
        version,
        transactional_id=transactional_id,
        producer_id=producer.id,
        producer_epoch=producer.epoch,
        committed=commit,
    )
    raised = version >= 5 and answer.producer_id >= 0
    following = Producer(answer.producer_id, answer.producer_epoch) if raised else producer
    return following, kafka.plain(answer)


async def txn_offset_commit(
    kafka: Session,
    transactional_id: str,
    producer: Producer,
    group: str,
    topic: str,
    offset: int,
    *,
    version: int = 3,
    generation: int = -1,
    member: str = "",
) -> Answer:
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP),
        TXN_OFFSET_COMMIT,
        version,
        transactional_id=transactional_id,
        group_id=group,
        producer_id=producer.id,
        producer_epoch=producer.epoch,
        generation_id=generation,
        member_id=member,
        group_instance_id=None,
        topics=[_offset_to_commit(topic, offset)],
    )
    return _single(kafka, answer, "topics", "partitions")


# ── groups ───────────────────────────────────────────────────────────────────────────────────────────────


async def offset_commit(
    kafka: Session,
    group: str,
    topic: str,
    offset: int,
    *,
    generation: int = -1,
    member: str = "",
    metadata: str = "",
    node: int | None = None,
    lane: str = "",
) -> Answer:
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP) if node is None else node,
        OFFSET_COMMIT,
        8,
        lane=lane,
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member,
        group_instance_id=None,
        topics=[_offset_to_commit(topic, offset, metadata)],
    )
    return _single(kafka, answer, "topics", "partitions")


async def offset_fetch(
    kafka: Session, group: str, topics: Mapping[str, Sequence[int]] | None, *, stable: bool = False
) -> Answer:
    """OffsetFetch v7; `topics` None asks for all."""
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP),
        OFFSET_FETCH,
        7,
        group_id=group,
        topics=None
        if topics is None
        else [{"name": name, "partition_indexes": list(indexes)} for name, indexes in topics.items()],
        require_stable=stable,
    )
    return dict(kafka.plain(answer))


async def join(
    kafka: Session,
    group: str,
    member: str = "",
    *,
    version: int = 5,
    protocols: Sequence[tuple[str, bytes]] = (("range", b"subscription"),),
    protocol_type: str = "consumer",
    session_timeout_ms: int = 30_000,
    rebalance_timeout_ms: int = 10_000,
    node: int | None = None,
    lane: str = "",
) -> tuple[Any, Answer]:
    """The raw response, for its member id and generation, and the plain answer."""
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP) if node is None else node,
        JOIN_GROUP,
        version,
        lane=lane,
        group_id=group,
        session_timeout=_ms(session_timeout_ms),
        rebalance_timeout=_ms(rebalance_timeout_ms),
        member_id=member,
        group_instance_id=None,
        protocol_type=protocol_type,
        protocols=[{"name": name, "metadata": metadata} for name, metadata in protocols],
        reason=None,
    )
    plain = kafka.plain(answer)
    plain["members"].sort(key=lambda entry: entry["member_id"])
    return answer, plain


async def sync(
    kafka: Session,
    group: str,
    member: str,
    generation: int,
    assignments: Mapping[str, bytes] | None = None,
    *,
    version: int = 3,
    protocol_type: str | None = "consumer",
    protocol_name: str | None = "range",
    lane: str = "",
) -> Answer:
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP),
        SYNC_GROUP,
        version,
        lane=lane,
        group_id=group,
        generation_id=generation,
        member_id=member,
        group_instance_id=None,
        protocol_type=protocol_type,
        protocol_name=protocol_name,
        assignments=[{"member_id": name, "assignment": data} for name, data in (assignments or {}).items()],
    )
    return dict(kafka.plain(answer))


async def heartbeat(
    kafka: Session, group: str, member: str, generation: int, *, node: int | None = None, lane: str = ""
) -> Answer:
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP) if node is None else node,
        HEARTBEAT,
        3,
        lane=lane,
        group_id=group,
        generation_id=generation,
        member_id=member,
        group_instance_id=None,
    )
    return dict(kafka.plain(answer))


async def leave(kafka: Session, group: str, member: str, *, version: int = 3, lane: str = "") -> Answer:
    who: dict[str, Any] = (
        {"member_id": member}
        if version < 3
        else {"members": [{"member_id": member, "group_instance_id": None, "reason": None}]}
    )
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP), LEAVE_GROUP, version, lane=lane, group_id=group, **who
    )
    return dict(kafka.plain(answer))


def _offset_to_commit(topic: str, offset: int, metadata: str = "") -> dict[str, Any]:
    wanted = {
        "partition_index": 0,
        "committed_offset": offset,
        "committed_leader_epoch": -1,
        "committed_metadata": metadata,
    }
    return {"name": topic, "partitions": [wanted]}


def _single(kafka: Session, answer: Any, topics: str, partitions: str) -> Answer:
    """The answer for the one partition of the one topic. Of an error only its code is left: what stands in
    the other fields then, no client looks at."""
    if "error_code" in type(answer).__slots__ and answer.error_code != 0:
        return {"error_code": kafka.plain(answer.error_code)}
    (topic,) = getattr(answer, topics)
    (partition,) = getattr(topic, partitions)
    plain = kafka.plain(partition)
    if plain["error_code"] != "none":
        return {"error_code": plain["error_code"]}
    if not plain.get("aborted_transactions", True):
        del plain["aborted_transactions"]  # none of them: null or empty, as it comes
    if plain.get("diverging_epoch") == {"epoch": -1, "end_offset": -1}:
        del plain["diverging_epoch"]
    return {name: value for name, value in plain.items() if name not in _INDEXES}
