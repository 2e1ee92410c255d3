"""What the members of a group have done: the store of their effects, outside the group.

    {"type":"ok","process":1,"f":"effects","value":[["events/0",42,"3:17",4,1203.5,3], …],"reached":true}

One row an effect, in order: partition, offset and value of the record, and, where the store is a list beside the log, the
process that did it, the time in milliseconds, and the generation in which it had read the record. A store that is fenced
takes that generation for a token, and refuses whoever comes with an older one than it has seen. With policy `eos` the store is topic `effects`, which
is written in transactions and read back with isolation read_committed (`reached`: to its end).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from harness.capabilities import Consumer, DefiniteFailure, Fenced, Log, Producer, Record, TopicPartition
from harness.workload import Completion, Invocation, ok
from workloads.reading import PROGRAMMING_ERRORS, read_or_fail, shown, text

IDLE_POLLS = 10
PIECE_RECORDS = 2_000


class Effects:
    """One process's way to the list that the whole group writes to. An effect is done at once, and lasts."""

    def __init__(
        self, rows: list[list[Any]], process: int, now_ms: Callable[[], float], *, fenced: bool = False
    ) -> None:
        self._rows, self._process, self._now_ms, self._fenced = rows, process, now_ms, fenced

    def add(self, record: Record, generation: int) -> None:
        row = shown(record)
        if self._fenced:
            newest = next((done for done in reversed(self._rows) if done[0] == row[0]), None)
            if newest is not None and newest[5] > generation:
                return
        self._rows.append([*row, self._process, round(self._now_ms(), 1), generation])

    async def effects(self, op: Invocation) -> Completion:
        return ok([list(row) for row in self._rows], reached=True)

    async def close(self) -> None:
        return None


class Transactions:
    """Effects as records of a transaction that also commits the group's offsets (KIP-447)."""

    def __init__(self, log: Log, topic: str, transactional_id: str) -> None:
        self._log, self._topic, self._id = log, topic, transactional_id
        self._producer: Producer | None = None

    async def process(
        self,
        records: Sequence[Record],
        offsets: Mapping[TopicPartition, int],
        consumer: Consumer,
        *,
        before_commit: Callable[[], Awaitable[None]],
    ) -> bool:
        """Whether it was committed; False where it certainly was not. Raises where that is not known."""
        producer = self._producer
        if producer is None:
            producer = self._log.producer(transactional_id=self._id)
            await producer.start()
            self._producer = producer
        committing = False
        try:
            await producer.begin()
            for record in records:
                row = f"{record.topic}/{record.partition}@{record.offset}={text(record.value)}"
                await producer.send(self._topic, row.encode(), partition=record.partition)
            await producer.send_offsets(offsets, consumer)
            await before_commit()
            committing = True
            await producer.commit()
        except PROGRAMMING_ERRORS:
            raise
        except Fenced:
            raise
        except DefiniteFailure:
            await producer.abort()
            return False
        except Exception:
            if committing:
                raise
            await producer.abort()
            return False
        return True

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.close()


class Topic:
    """Reads the effects back where they are a topic."""

    def __init__(self, log: Log, partitions: Sequence[TopicPartition]) -> None:
        self._log, self._partitions = log, list(partitions)
        self._open: list[Consumer] = []

    async def effects(self, op: Invocation) -> Completion:
        return await read_or_fail(self._effects())

    async def _effects(self) -> Completion:
        consumer = await self._log.consumer(isolation="read_committed")
        watermarks = await self._log.consumer(isolation="read_uncommitted")
        self._open += [consumer, watermarks]
        await consumer.assign(self._partitions)
        # An open transaction ends some day, and until then it hides what stands behind it.
        ends = await watermarks.end_offsets(self._partitions)
        rows: list[list[Any]] = []
        idle = 0
        while idle < IDLE_POLLS and not await self._there(consumer, ends):
            polled = await consumer.poll(timeout_ms=300, max_records=PIECE_RECORDS)
            idle = 0 if polled else idle + 1
            rows += [_row(text(record.value)) for record in polled]
        return ok(rows, reached=await self._there(consumer, ends))

    async def _there(self, consumer: Consumer, ends: Mapping[TopicPartition, int]) -> bool:
        for partition in self._partitions:
            if await consumer.position(partition) < ends[partition]:
                return False
        return True

    async def close(self) -> None:
        for consumer in self._open:
            await consumer.close()


def _row(shown_row: str) -> list[Any]:
    where, _, value = shown_row.partition("=")
    partition, _, offset = where.rpartition("@")
    return [partition, int(offset), value]
