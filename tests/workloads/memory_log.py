"""A perfect log in memory with the capability's face: transactions, group offsets, fencing. `errors` makes a
share of the calls raise, before or after they took effect, as a network does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.capabilities import DefiniteFailure, EndOffset, Fenced, Record, Sent, TopicPartition


@dataclass
class Stored:
    value: bytes
    txn: Txn | None
    key: bytes | None = None

    @property
    def is_marker(self) -> bool:
        return self.txn is not None and self.txn.state == "marker"


@dataclass
class Txn:
    state: str = "open"
    first: dict[TopicPartition, int] = field(default_factory=dict)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)


class MemoryLog:
    """The server and the factory of its clients."""

    def __init__(self, rng: random.Random, *, errors: float = 0.0, isolation: str = "read_committed") -> None:
        self.rng = rng
        self.errors = errors
        self.isolation = isolation
        self.logs: dict[TopicPartition, list[Stored]] = {}
        self.group: dict[TopicPartition, int] = {}
        self.epochs: dict[str, int] = {}
        self.open: dict[str, Txn] = {}

    @property
    def config(self) -> Mapping[str, Any]:
        return {"isolation.level": self.isolation}

    def face(self, capability: str) -> MemoryLog:
        return self

    def flaky(self) -> None:
        if self.rng.random() < self.errors:
            raise TimeoutError("lost on the way")

    async def create_topic(
        self, topic: str, *, partitions: int, replication_factor: int, config: Mapping[str, str] | None = None
    ) -> None:
        for index in range(partitions):
            self.logs[TopicPartition(topic, index)] = []

    async def partitions(self, topic: str) -> int:
        return sum(p.topic == topic for p in self.logs)

    def producer(self, *, transactional_id: str | None = None) -> MemoryProducer:
        return MemoryProducer(self, transactional_id)

    async def consumer(self, *, group: str | None = None, isolation: str | None = None) -> MemoryConsumer:
        return MemoryConsumer(self, isolation or self.isolation)

    def stable(self, partition: TopicPartition) -> int:
        held = [t.first[partition] for t in self.open.values() if partition in t.first]
        return min([len(self.logs[partition]), *held])

    def end(self, txn: Txn, state: str) -> None:
        txn.state = state
        for partition in txn.first:
            self.logs[partition].append(Stored(b"", Txn("marker")))
        if state == "committed":
            self.group.update(txn.offsets)


class MemoryProducer:
    def __init__(self, log: MemoryLog, transactional_id: str | None) -> None:
        self.log, self.id, self.epoch = log, transactional_id, 0
        self.txn: Txn | None = None

    async def start(self) -> None:
        self.log.flaky()
        if self.id is not None:
            self.epoch = self.log.epochs[self.id] = self.log.epochs.get(self.id, 0) + 1
            left = self.log.open.pop(self.id, None)
            if left is not None:
                self.log.end(left, "aborted")

    def _fence(self) -> None:
        if self.id is not None and self.log.epochs[self.id] != self.epoch:
            raise Fenced("a newer instance has started")

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int | None = None
    ) -> Sent:
        assert partition is not None
        self._fence()
        if self.log.rng.random() < self.log.errors:
            raise DefiniteFailure("not enough replicas")
        self.log.flaky()
        target = TopicPartition(topic, partition)
        if self.txn is not None and self.id is not None:
            self.txn.first.setdefault(target, len(self.log.logs[target]))
            self.log.open[self.id] = self.txn
        self.log.logs[target].append(Stored(value or b"", self.txn, key))
        self.log.flaky()
        return Sent(topic, partition, len(self.log.logs[target]) - 1)

    async def begin(self) -> None:
        self.txn = Txn()

    async def send_offsets(self, offsets: Mapping[TopicPartition, int], consumer: Any) -> None:
        self._fence()
        self.log.flaky()
        assert self.txn is not None
        self.txn.offsets.update(offsets)

    async def commit(self) -> None:
        await self._end("committed")

    async def abort(self) -> None:
        await self._end("aborted")

    async def _end(self, state: str) -> None:
        self._fence()
        self.log.flaky()
        assert self.txn is not None
        assert self.id is not None
        self.log.open.pop(self.id, None)
        self.log.end(self.txn, state)
        self.txn = None
        self.log.flaky()

    async def close(self) -> None:
        return None


class MemoryConsumer:
    def __init__(self, log: MemoryLog, isolation: str) -> None:
        self.log, self.isolation = log, isolation
        self.at: dict[TopicPartition, int] = {}

    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.log.flaky()
        self.at = dict.fromkeys(partitions, 0)

    async def subscribe(self, topics: Sequence[str], **_: Any) -> None:
        await self.assign([p for p in self.log.logs if p.topic in topics])

    def assignment(self) -> tuple[TopicPartition, ...]:
        return tuple(sorted(self.at))

    def _end(self, partition: TopicPartition) -> int:
        return (
            self.log.stable(partition)
            if self.isolation == "read_committed"
            else len(self.log.logs[partition])
        )

    async def poll(self, *, timeout_ms: int, max_records: int = 500) -> list[Record]:
        self.log.flaky()
        records: list[Record] = []
        for partition, position in self.at.items():
            for offset in range(position, self._end(partition)):
                if len(records) == max_records:
                    break
                self.at[partition] = offset + 1
                stored = self.log.logs[partition][offset]
                shown = stored.txn is None or stored.txn.state == "committed"
                if shown or (self.isolation == "read_uncommitted" and not stored.is_marker):
                    records.append(Record(*partition, offset, stored.key, stored.value, 0))
        self.log.flaky()
        return records

    async def position(self, partition: TopicPartition) -> int:
        return self.at[partition]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at[partition] = offset

    async def committed(self, partition: TopicPartition) -> int | None:
        self.log.flaky()
        return self.log.group.get(partition)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.log.flaky()
        self.log.group.update(offsets)
        self.log.flaky()

    async def seek_to_committed(self) -> dict[TopicPartition, int]:
        self.log.flaky()
        self.at = {p: self.log.group.get(p, 0) for p in self.at}
        return dict(self.at)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.log.flaky()
        return {p: self._end(p) for p in partitions}

    async def end_offsets_by_epoch(
        self, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, EndOffset]:
        self.log.flaky()
        return {p: EndOffset(len(self.log.logs[p]), 0) for p in partitions}

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.log.flaky()
        return dict.fromkeys(partitions, 0)

    async def close(self) -> None:
        return None
