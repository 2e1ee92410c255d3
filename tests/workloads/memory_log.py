"""A perfect log in memory with the capability's face: transactions, group offsets, fencing. `errors` makes a
share of the calls raise, before or after they took effect, as a network does."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.capabilities import DefiniteFailure, EndOffset, Fenced, Record, Sent, TopicPartition

SESSION_POLLS = 60
"""Polls of everybody after which a member that made none of them is expelled."""


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
    offsets: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)


class MemoryLog:
    """The server and the factory of its clients."""

    def __init__(self, rng: random.Random, *, errors: float = 0.0, isolation: str = "read_committed") -> None:
        self.rng = rng
        self.errors = errors
        self.isolation = isolation
        self.logs: dict[TopicPartition, list[Stored]] = {}
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self.members: dict[str, list[MemoryConsumer]] = {}
        self.polls = 0
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

    async def add_partitions(self, topic: str, total: int) -> None:
        for index in range(total):
            self.logs.setdefault(TopicPartition(topic, index), [])

    def producer(self, *, transactional_id: str | None = None) -> MemoryProducer:
        return MemoryProducer(self, transactional_id)

    async def consumer(self, *, group: str | None = None, isolation: str | None = None) -> MemoryConsumer:
        return MemoryConsumer(self, isolation or self.isolation, group or "")

    def rebalance(self, group: str) -> None:
        """Eager: everybody begins again at what is committed, with a share of the partitions."""
        members = self.members[group]
        for place, member in enumerate(members):
            every = sorted(p for p in self.logs if p.topic in member.topics)
            share = every[place :: len(members)]
            member.at = {p: self.committed.get((group, p), 0) for p in share}
            member.on_assigned(share)

    def polled(self, member: MemoryConsumer) -> None:
        """Who has not polled for long is no member any more, and who does is one again."""
        self.polls += 1
        member.last_poll = self.polls
        if member.topics:
            members = self.members.setdefault(member.group, [])
            alive = [m for m in members if self.polls - m.last_poll < SESSION_POLLS]
            alive += [] if member in alive else [member]
            if alive != members:
                self.members[member.group] = alive
                self.rebalance(member.group)

    def stable(self, partition: TopicPartition) -> int:
        held = [t.first[partition] for t in self.open.values() if partition in t.first]
        return min([len(self.logs[partition]), *held])

    def end(self, txn: Txn, state: str) -> None:
        txn.state = state
        for partition in txn.first:
            self.logs[partition].append(Stored(b"", Txn("marker")))
        if state == "committed":
            self.committed.update(txn.offsets)


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
        self.txn.offsets.update({(consumer.group, p): offset for p, offset in offsets.items()})

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
    def __init__(self, log: MemoryLog, isolation: str, group: str) -> None:
        self.log, self.isolation, self.group = log, isolation, group
        self.at: dict[TopicPartition, int] = {}
        self.topics: list[str] = []
        self.last_poll = 0
        self.on_assigned: Callable[[Sequence[TopicPartition]], None] = lambda _: None

    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.log.flaky()
        self.at = dict.fromkeys(partitions, 0)

    async def subscribe(self, topics: Sequence[str], *, on_assigned: Any = None, **_: Any) -> None:
        self.topics = list(topics)
        self.on_assigned = on_assigned or self.on_assigned
        self.log.polled(self)

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
        self.log.polled(self)
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
        return self.log.committed.get((self.group, partition))

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.log.flaky()
        if not offsets.keys() <= self.at.keys() or (self.topics and self not in self.log.members[self.group]):
            raise DefiniteFailure("no member of this generation")
        self.log.committed.update({(self.group, p): offset for p, offset in offsets.items()})
        self.log.flaky()

    async def seek_to_committed(self) -> dict[TopicPartition, int]:
        self.log.flaky()
        self.at = {p: self.log.committed.get((self.group, p), 0) for p in self.at}
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
