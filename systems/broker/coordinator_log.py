"""The log behind a coordinator: one internal topic, each partition's state rebuilt by whoever leads it.

`__transaction_state` and `__consumer_offsets` are ordinary replicated partitions. Their leader is the
coordinator of the keys that hash to them: it replays the partition when it gains leadership, refuses
until that is done, appends every change at acks=all *before* acting on it, and forgets everything when
leadership is lost (semantics 2.4 and 2.5). What it answers without an append (a committed offset, a
transaction's state, who is a member) is true only while nobody else can lead: hence under a lease (`lease.py`).

A coordinator that does not know whether its last append took place replays again: its memory never
differs from its log.
"""

from __future__ import annotations

import asyncio
import datetime
import io
import logging
import struct
from collections.abc import Coroutine, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from kio.records.readers import read_batch
from kio.records.schema import NewRecordBatch, Record
from kio.records.writers import write_new_batch
from kio.schema.errors import ErrorCode
from kio.static.primitive import i8, i16, i32, i64

from systems.broker.context import Appended, Broker, KafkaError, LeaderPartition

log = logging.getLogger(__name__)

TRANSACTIONS = "__transaction_state"
OFFSETS = "__consumer_offsets"

LOAD_POLL_S = 0.02
"""How often a replay looks whether the high watermark has reached what it is to read."""

_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_COMMIT_MARKER = 1
_OUTCOME_UNKNOWN = frozenset({ErrorCode.not_enough_replicas_after_append, ErrorCode.request_timed_out})
_NOT_LEADING = frozenset({ErrorCode.not_leader_or_follower, ErrorCode.unknown_topic_or_partition})


def coordinator_partition(key: str, partitions: int) -> int:
    """Kafka's `Utils.abs(key.hashCode()) % partitions`, over UTF-16 code units as in Java."""
    units = key.encode("utf-16-be", "surrogatepass")
    code = 0
    for (unit,) in struct.iter_unpack(">H", units):
        code = (31 * code + unit) & 0xFFFFFFFF
    signed = code - (1 << 32) if code & 0x80000000 else code
    return 0 if signed == -(1 << 31) else abs(signed) % partitions


class Entry(NamedTuple):
    """One replayed record. `producer_id` is -1 outside a transaction."""

    offset: int
    key: bytes
    value: bytes | None
    producer_id: int = -1


class Marker(NamedTuple):
    """A transaction's end as replayed from the log."""

    offset: int
    producer_id: int
    commit: bool


class Producer(NamedTuple):
    """On whose behalf records are appended inside a transaction."""

    id: int
    epoch: int


S = TypeVar("S")


class Shard(Generic[S]):
    """One led partition in one leader epoch, with the state replayed from it."""

    def __init__(self, partition: LeaderPartition, state: S) -> None:
        self.index = partition.index
        self.epoch = partition.leader_epoch
        self.partition = partition
        self.state = state
        self.loaded = False
        self.lost = False
        self.tasks: dict[asyncio.Task[Any], None] = {}


class StateMachine(Protocol[S]):
    """What a coordinator keeps per partition. All calls come from the event loop, none may wait."""

    def empty(self) -> S: ...
    def replay(self, state: S, entry: Entry | Marker) -> None: ...
    def loaded(self, shard: Shard[S]) -> Sequence[str]:
        """The replay is complete: resume what was under way; returns its names."""
        ...

    def unloaded(self, shard: Shard[S]) -> None:
        """Leadership is gone (or the partition will be replayed): release every waiter."""
        ...


class CoordinatorLog(Generic[S]):
    """The partitions of one internal topic that this broker leads."""

    def __init__(self, broker: Broker, topic: str, *, kind: str, machine: StateMachine[S]) -> None:
        self.topic = topic
        self._broker = broker
        self._kind = kind
        self._machine = machine
        self._shards: dict[int, Shard[S]] = {}
        config = broker.env.config
        self._timeout_ms = int(config.get("offsets.commit.timeout.ms", 5000))

    def start(self) -> None:
        self._broker.replicas.on_leadership(self.topic, self._gained, self._lost)

    def stop(self) -> None:
        for index in sorted(self._shards):
            self._drop(self._shards[index])
        self._shards.clear()

    def partition_of(self, key: str) -> int:
        """Raises COORDINATOR_NOT_AVAILABLE while the topic does not exist."""
        topic = self._broker.image.topics.get(self.topic)
        if topic is None:
            raise KafkaError(ErrorCode.coordinator_not_available, f"{self.topic} does not exist yet")
        return coordinator_partition(key, len(topic.partitions))

    def shard_of(self, key: str, *, while_loading: bool = False) -> Shard[S]:
        """For a request. Raises NOT_COORDINATOR, or COORDINATOR_LOAD_IN_PROGRESS until the replay is
        complete (`while_loading`: the mistake of not waiting for it)."""
        index = self.partition_of(key)
        shard = self._led(index) if while_loading else self.shard(index)
        self.check_leads(shard)
        return shard

    def check_leads(self, shard: Shard[S]) -> None:
        """Raises NOT_COORDINATOR unless nobody else can coordinate the shard's keys at this moment: to be
        asked again after a wait, before an answer from memory."""
        if shard.lost:
            raise KafkaError(ErrorCode.not_coordinator, "leadership moved in the meantime")
        if not self._broker.leased and "coordinator-serves-without-lease" not in self._broker.env.bugs:
            raise KafkaError(ErrorCode.not_coordinator, "no controller has confirmed the leadership lately")

    def shard(self, index: int) -> Shard[S]:
        """As `shard_of`, by partition and without a lease: for what is decided by an append."""
        shard = self._led(index)
        if not shard.loaded:
            raise KafkaError(ErrorCode.coordinator_load_in_progress, f"{self.topic}/{index} is loading")
        return shard

    def _led(self, index: int) -> Shard[S]:
        shard = self._shards.get(index)
        if shard is None:
            raise KafkaError(ErrorCode.not_coordinator, f"{self.topic}/{index} is not led here")
        return shard

    def shards(self) -> list[Shard[S]]:
        """The loaded ones, by partition."""
        return [self._shards[index] for index in sorted(self._shards) if self._shards[index].loaded]

    async def append(
        self,
        shard: Shard[S],
        records: Sequence[tuple[bytes, bytes | None]],
        *,
        producer: Producer | None = None,
    ) -> Appended:
        """Appends at acks=all in the shard's leader epoch and returns once committed *in that epoch*.

        Raises NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, or what the producer checks say. After an
        append of unknown outcome the partition is replayed, so that memory follows the log.
        """
        if shard.lost:
            raise KafkaError(ErrorCode.not_coordinator)
        now_ms = self._broker.env.wall_clock.time_ns() // 1_000_000
        batch = encode_batch(records, now_ms, producer)
        acks = -1
        if self.topic == TRANSACTIONS and "prepare-not-durable" in self._broker.env.bugs:
            acks = 1
        try:
            appended = await shard.partition.append(
                batch, acks=acks, timeout_ms=self._timeout_ms, leader_epoch=shard.epoch
            )
        except KafkaError as error:
            if error.code in _NOT_LEADING:
                raise KafkaError(ErrorCode.not_coordinator, str(error)) from error
            if error.code in _OUTCOME_UNKNOWN:
                self.reload(shard)
                raise KafkaError(ErrorCode.coordinator_not_available, str(error)) from error
            if error.code is ErrorCode.not_enough_replicas:
                raise KafkaError(ErrorCode.coordinator_not_available, str(error)) from error
            raise
        if "stale-group-coordinator-acks" not in self._broker.env.bugs and shard.lost:
            raise KafkaError(ErrorCode.not_coordinator, "leadership moved during the append")
        return appended

    def spawn(self, shard: Shard[S], coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs for as long as the shard is ours."""
        task = asyncio.get_running_loop().create_task(coroutine)
        shard.tasks[task] = None
        task.add_done_callback(lambda done: self._on_done(shard, done))

    def reload(self, shard: Shard[S]) -> None:
        """Forgets the shard's state and replays its log, in the same leader epoch."""
        if not shard.lost and self._shards.get(shard.index) is shard:
            self._gained(shard.partition)

    def _on_done(self, shard: Shard[S], task: asyncio.Task[None]) -> None:
        shard.tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, KafkaError):
            log.info("%s/%d: %s", self.topic, shard.index, error)
        elif error is not None:
            log.error("%s/%d failed", self.topic, shard.index, exc_info=error)
            self._broker.env.emit("internal-error", detail=f"{self.topic}/{shard.index}: {error!r}")

    def _gained(self, partition: LeaderPartition) -> None:
        old = self._shards.pop(partition.index, None)
        if old is not None:
            self._drop(old)
        shard = Shard(partition, self._machine.empty())
        self._shards[shard.index] = shard
        self.spawn(shard, self._load(shard))

    def _lost(self, index: int) -> None:
        shard = self._shards.pop(index, None)
        if shard is not None:
            self._drop(shard)
            self._broker.env.emit("coordinator-unloaded", coordinator=self._kind, partition=index)

    def _drop(self, shard: Shard[S]) -> None:
        shard.lost = True
        current = asyncio.current_task()
        for task in list(shard.tasks):
            if task is not current:
                task.cancel()
        self._machine.unloaded(shard)

    async def _load(self, shard: Shard[S]) -> None:
        """Replays the log once its end is committed, so that nothing is answered from records which the
        next leader may not have."""
        partition = shard.partition
        while True:
            if partition.high_watermark >= partition.log_end_offset:
                break
            await asyncio.sleep(LOAD_POLL_S)
        for batch in partition.read_batches(partition.log_start_offset, partition.log_end_offset):
            for entry in decode_batch(batch):
                self._machine.replay(shard.state, entry)
        shard.loaded = True
        resumed = self._machine.loaded(shard)
        self._broker.env.emit(
            "coordinator-loaded",
            coordinator=self._kind,
            partition=shard.index,
            epoch=shard.epoch,
            resumed=list(resumed),
        )


def encode_batch(
    records: Sequence[tuple[bytes, bytes | None]], timestamp_ms: int, producer: Producer | None = None
) -> bytes:
    """One v2 record batch. A transactional one carries no sequence number (-1), as Kafka's coordinators
    write it: the coordinator itself serialises its appends."""
    when: Any = datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC)
    buffer = io.BytesIO()
    write_new_batch(
        buffer,
        NewRecordBatch(
            producer_id=i64(producer.id if producer else -1),
            producer_epoch=i16(producer.epoch if producer else -1),
            base_sequence=i32(-1),
            attributes=i16(_TRANSACTIONAL if producer else 0),
            records=tuple(
                Record(attributes=i8(0), timestamp=when, offset=i64(n), key=key, value=value, headers=())
                for n, (key, value) in enumerate(records)
            ),
        ),
    )
    return buffer.getvalue()


def decode_batch(batch: bytes) -> list[Entry | Marker]:
    decoded, _ = read_batch(batch, 0)
    entries: list[Entry | Marker] = []
    for record in decoded.records:
        key = record.key or b""
        if decoded.attributes & _CONTROL:
            _, kind = struct.unpack_from(">hh", key)
            entries.append(Marker(record.offset, decoded.producer_id, kind == _COMMIT_MARKER))
        else:
            producer_id = decoded.producer_id if decoded.attributes & _TRANSACTIONAL else -1
            entries.append(Entry(record.offset, key, record.value, producer_id))
    return entries
