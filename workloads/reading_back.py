"""`final-read`: after the heal, everything is read from the beginning to the end, until it is stable.

    {"type":"ok","process":1,"f":"final-read","key":"orders/0","value":[["orders/0",0,"3:0"], …],
     "isolation":"read_committed","from":0,"next":2000,"end":4711,"high_watermark":4712,"reached":false}

One operation reads a piece, from `from` up to `next`; pieces of one process join to a chain, and the chain that
begins at the log's start and `reached` the `end` (the end offset asked for before reading, under this isolation) is
the authoritative log. A partition is done when another look found nothing more, and, with transactions,
when the last stable offset has come up to the high watermark or has had the time to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.capabilities import Consumer, Log, TopicPartition
from harness.generators import Context, Wait
from harness.workload import Completion, Invocation, ok
from workloads.reading import parse_partition, read_or_fail, shown

PIECE_RECORDS = 2_000
IDLE_POLLS = 4
"""Polls in a row that bring nothing before a piece is given back unfinished."""
SETTLE_MS = 500.0
RETRY_MS = 1_000.0


class Reader:
    """Reads partitions back. With `stable` it also asks for the high watermark (transactions)."""

    def __init__(self, log: Log, isolation: str, *, high_watermark: bool) -> None:
        self._log = log
        self._isolation = isolation
        self._wants_high_watermark = high_watermark
        self._consumer: Consumer | None = None
        self._watermarks: Consumer | None = None
        self._at: tuple[TopicPartition, int] | None = None

    async def final_read(self, op: Invocation) -> Completion:
        return await read_or_fail(self._final_read(op))

    async def _final_read(self, op: Invocation) -> Completion:
        partition, start = parse_partition(op.key), int(op.extra["from"])
        if self._consumer is None:
            self._consumer = await self._log.consumer(isolation=self._isolation)
        consumer = self._consumer
        position = max(start, await _beginning(consumer, partition))
        if self._at != (partition, position):
            await consumer.assign([partition])
            consumer.seek(partition, position)
        end = (await consumer.end_offsets([partition]))[partition]
        extra: dict[str, Any] = {"isolation": self._isolation, "from": start, "end": end}
        if self._wants_high_watermark:
            extra["high_watermark"] = await self._high_watermark(partition)
        records: list[list[Any]] = []
        idle = 0
        while position < end and len(records) < PIECE_RECORDS and idle < IDLE_POLLS:
            polled = await consumer.poll(timeout_ms=500, max_records=PIECE_RECORDS)
            records += [shown(record) for record in polled]
            before, position = position, await consumer.position(partition)
            idle = 0 if polled or position > before else idle + 1
        self._at = (partition, position)
        # Asked for last: whatever this piece could not read any more lies below it.
        if begins := await _beginning(consumer, partition):
            extra["log_start"] = begins
            position = max(position, begins)
        return ok(records, next=position, reached=position >= end, **extra)

    async def _high_watermark(self, partition: TopicPartition) -> int:
        if self._watermarks is None:
            self._watermarks = await self._log.consumer(isolation="read_uncommitted")
        return (await self._watermarks.end_offsets([partition]))[partition]

    async def close(self) -> None:
        for consumer in (self._consumer, self._watermarks):
            if consumer is not None:
                await consumer.close()


async def _beginning(consumer: Consumer, partition: TopicPartition) -> int:
    return (await consumer.beginning_offsets([partition]))[partition]


class _Progress:
    """One partition's reading: where its chain stands and who reads it."""

    def __init__(self) -> None:
        self.reader: int | None = None
        self.process: int | None = None
        self.next_offset = 0
        self.ready_ms = 0.0
        self.reached = False
        self.done = False


class ReadBack:
    """Generates final reads: each partition by one slot at a time, until it is stable.

    `limit_ms` and `stable_limit_ms` count from the first question: after the one it gives up altogether,
    after the other it no longer waits for transactions that keep the last stable offset back.
    """

    def __init__(self, partitions: Sequence[str], *, limit_ms: float, stable_limit_ms: float) -> None:
        self._progress = {partition: _Progress() for partition in partitions}
        self._limit_ms = limit_ms
        self._stable_limit_ms = stable_limit_ms
        self._started_ms: float | None = None

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
        if context.now_ms - self._started_ms > self._limit_ms:
            return None
        partition = self._mine(context.slot)
        if partition is None:
            return None
        progress = self._progress[partition]
        if context.now_ms < progress.ready_ms:
            return Wait(progress.ready_ms - context.now_ms)
        if progress.process != context.process:
            progress.process, progress.next_offset, progress.reached = context.process, 0, False
        return Invocation(f="final-read", key=partition, extra={"from": progress.next_offset})

    def _mine(self, slot: int) -> str | None:
        unclaimed: str | None = None
        for partition, progress in self._progress.items():
            if progress.done:
                continue
            if progress.reader == slot:
                return partition
            if progress.reader is None and unclaimed is None:
                unclaimed = partition
        if unclaimed is not None:
            self._progress[unclaimed].reader = slot
        return unclaimed

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        progress = self._progress.get(invocation.key) if invocation.f == "final-read" else None
        if progress is None:
            return
        if completion.type != "ok":
            progress.process = None
            progress.ready_ms = context.now_ms + RETRY_MS
            return
        progress.next_offset = completion.extra["next"]
        quiet = progress.reached and not completion.value
        progress.reached = completion.extra["reached"]
        if not progress.reached:
            return
        progress.ready_ms = context.now_ms + SETTLE_MS
        end = completion.extra["end"]
        open_transactions = end < completion.extra.get("high_watermark", end)
        started = context.now_ms if self._started_ms is None else self._started_ms
        patient = context.now_ms - started < self._stable_limit_ms
        progress.done = quiet and not (open_transactions and patient)
