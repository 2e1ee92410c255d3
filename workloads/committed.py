"""`committed`: what the group's committed offsets are, at the end.

    {"type":"ok","process":2,"f":"committed","value":[["input/0",812],["input/1",null], …]}

Asked until two answers in a row agree: a coordinator may acknowledge a commit a moment before a plain fetch shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.capabilities import Consumer, Log, TopicPartition
from harness.generators import Context, Wait
from harness.workload import Completion, Invocation, ok
from workloads.reading import read_or_fail

RETRY_MS = 500.0
ATTEMPTS = 20


class CommittedOffsets:
    """Fetches the committed offsets of a group without joining it."""

    def __init__(self, log: Log, group: str, partitions: Sequence[TopicPartition]) -> None:
        self._log = log
        self._group = group
        self._partitions = list(partitions)
        self._consumer: Consumer | None = None

    async def committed(self, op: Invocation) -> Completion:
        return await read_or_fail(self._committed())

    async def _committed(self) -> Completion:
        if self._consumer is None:
            consumer = await self._log.consumer(group=self._group)
            await consumer.assign(self._partitions)
            self._consumer = consumer
        return ok([[str(p), await self._consumer.committed(p)] for p in self._partitions])

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()


class AskCommitted:
    """Generates the questions, one at a time."""

    def __init__(self) -> None:
        self._asking = False
        self._left = ATTEMPTS
        self._last: Any = None
        self._ready_ms = 0.0
        self._agreed = False

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._agreed or self._left <= 0:
            return None
        if self._asking:
            return Wait(RETRY_MS)
        if context.now_ms < self._ready_ms:
            return Wait(self._ready_ms - context.now_ms)
        self._asking = True
        self._left -= 1
        return Invocation(f="committed")

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f != "committed":
            return
        self._asking = False
        self._ready_ms = context.now_ms + RETRY_MS
        if completion.type == "ok":
            self._agreed = completion.value == self._last
            self._last = completion.value
