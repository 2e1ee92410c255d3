"""`poll` of a group's only reader: it resumes from the group's committed offsets and commits after each poll.

    {"type":"ok","process":4,"f":"poll","group":"g1","value":[["events/0",42,"3:17"], …],
     "isolation":"read_committed","assigned":[["events/0",20], …],"committed":true}

The partitions are assigned by hand, so that nobody is rebalanced; `assigned` stands in a process's first poll. The
commit comes after the processing: a crash between the two repeats records and never skips any. `committed` is false
where the commit failed; the process is then replaced, and its successor repeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from harness.capabilities import Consumer, Log, TopicPartition
from harness.workload import Completion, Invocation, ok
from workloads.draining import remaining
from workloads.reading import PROGRAMMING_ERRORS, describe, offsets_shown, read_or_fail, shown

DRAIN_RECORDS = 500
COMMIT_S = 3.0
"""What was processed was processed, also where the commit is never answered: the operation must live to say so."""


class Follower:
    """A consumer process of one group."""

    def __init__(
        self,
        log: Log,
        group: str,
        partitions: Sequence[TopicPartition],
        isolation: str,
        *,
        max_records: int = 500,
    ) -> None:
        self._log, self._group, self._partitions = log, group, list(partitions)
        self._isolation, self._max_records = isolation, max_records
        self._consumer: Consumer | None = None
        self._assigned: list[tuple[TopicPartition, int]] = []

    async def poll(self, op: Invocation) -> Completion:
        """In the end (`drain`) without the bound that makes it slow."""
        return await read_or_fail(self._poll(bool(op.extra.get("drain"))))

    async def _poll(self, drain: bool) -> Completion:
        consumer = await self._opened()
        most = DRAIN_RECORDS if drain else self._max_records
        records = await consumer.poll(timeout_ms=300, max_records=most)
        extra: dict[str, Any] = {"group": self._group, "isolation": self._isolation}
        if self._assigned:
            extra["assigned"] = offsets_shown(self._assigned)
            self._assigned = []
        if drain:
            extra["remaining"] = await remaining(consumer, self._partitions)
        value = [shown(record) for record in records]
        if not records:
            return ok(value, **extra)
        reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        try:
            async with asyncio.timeout(COMMIT_S):
                await consumer.commit(reached)
        except PROGRAMMING_ERRORS:
            raise
        except Exception as error:
            return ok(value, retire=True, committed=False, error_after=describe(error), **extra)
        return ok(value, committed=True, **extra)

    async def _opened(self) -> Consumer:
        if self._consumer is None:
            consumer = await self._log.consumer(group=self._group, isolation=self._isolation)
            await consumer.assign(self._partitions)
            self._assigned = sorted((await consumer.seek_to_committed()).items())
            self._consumer = consumer
        return self._consumer

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
