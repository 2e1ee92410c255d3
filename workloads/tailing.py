"""`poll` and `end-offset`: a consumer process with manual assignment follows a topic.

    {"type":"ok","process":4,"f":"poll","value":[["orders/0",42,"3:17"], …],
     "isolation":"read_committed","assigned":[["orders/0",20], …]}
    {"type":"ok","process":4,"f":"end-offset","value":[["orders/0",43], …],"isolation":"read_committed"}

`log_start`, `[["orders/0", 20], …]`, stands in a poll that found offsets missing: where the log begins now. What lies
below was removed, not skipped.

`assigned` stands in a process's first poll: the positions that it asked to start from. From there on each
of its polls continues where the one before ended; nothing but a broken consumer or log skips or repeats.
A process that takes over starts a little before the place its predecessor had reached, so that
some records are read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.capabilities import Consumer, Log, Record, TopicPartition
from harness.generators import Context, Stateless
from harness.workload import Completion, Invocation, ok
from workloads.draining import remaining
from workloads.reading import PROGRAMMING_ERRORS, offsets_shown, read_or_fail, shown

OVERLAP_RECORDS = 50
"""How far a successor goes back."""


class Polls(Stateless):
    """Generates polls, and now and then a question for the end offsets."""

    def __init__(self, *, end_offset_share: float = 0.1) -> None:
        self._share = end_offset_share

    def next(self, context: Context) -> Invocation:
        if context.random.random() < self._share:
            return Invocation(f="end-offset")
        return Invocation(f="poll")


class Tail:
    """A consumer process. `reached` is shared with its successors: the next offset, by partition."""

    def __init__(
        self,
        log: Log,
        partitions: Sequence[TopicPartition],
        reached: dict[TopicPartition, int],
        isolation: str,
        *,
        transactions: bool = False,
    ) -> None:
        """`transactions`: offsets go to markers and aborted records all the time, and nothing is asked about them."""
        self._log = log
        self._partitions = list(partitions)
        self._reached = reached
        self._isolation = isolation
        self._consumer: Consumer | None = None
        self._assigned: list[tuple[TopicPartition, int]] = []
        self._gaps: dict[TopicPartition, None] = {}
        self._transactions = transactions

    async def open(self) -> None:
        consumer = await self._log.consumer(isolation=self._isolation)
        await consumer.assign(self._partitions)
        self._assigned = [(p, max(0, self._reached.get(p, 0) - OVERLAP_RECORDS)) for p in self._partitions]
        for partition, start in self._assigned:
            consumer.seek(partition, start)
        self._consumer = consumer

    async def poll(self, op: Invocation) -> Completion:
        return await read_or_fail(self._poll(bool(op.extra.get("drain"))))

    async def _poll(self, drain: bool) -> Completion:
        records = await self.records()
        rest: dict[str, Any] = {"remaining": await self.remaining()} if drain else {}
        if begins := await self._beginnings():
            rest["log_start"] = begins
        return ok([shown(record) for record in records], **rest, **self.told())

    async def remaining(self) -> int:
        return await remaining(await self._opened(), self._partitions)

    async def records(self, *, timeout_ms: int = 300, max_records: int = 500) -> list[Record]:
        """The next ones, wherever they come from."""
        consumer = await self._opened()
        records = await consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            if record.offset > self._reached.get(partition, record.offset):
                self._gaps[partition] = None
            self._reached[partition] = max(record.offset + 1, self._reached.get(partition, 0))
        return records

    async def _beginnings(self) -> list[list[Any]]:
        """Of the partitions of which the last poll missed something, where that is not 0."""
        gaps, self._gaps = list(self._gaps), {}
        if not gaps or self._transactions:
            return []
        try:
            starts = await (await self._opened()).beginning_offsets(gaps)
        except PROGRAMMING_ERRORS:
            raise
        except Exception:
            # Nobody can tell now: the gap stays unexplained.
            return []
        return offsets_shown([(partition, start) for partition, start in sorted(starts.items()) if start])

    def told(self) -> dict[str, Any]:
        """What the completion says besides the records: the first time, where this process began."""
        if not self._assigned:
            return {"isolation": self._isolation}
        assigned, self._assigned = offsets_shown(self._assigned), []
        return {"isolation": self._isolation, "assigned": assigned}

    async def end_offset(self, op: Invocation) -> Completion:
        return await read_or_fail(self._end_offset())

    async def _end_offset(self) -> Completion:
        consumer = await self._opened()
        ends = await consumer.end_offsets(self._partitions)
        return ok(offsets_shown(sorted(ends.items())), isolation=self._isolation)

    async def _opened(self) -> Consumer:
        if self._consumer is None:
            await self.open()
        assert self._consumer is not None
        return self._consumer

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
