"""The beginning of the end of a run: whoever sends sends once more, whoever consumes consumes to the end."""

from __future__ import annotations

from collections.abc import Sequence

from harness.capabilities import Consumer, TopicPartition
from harness.generators import Context, Generator, Wait
from harness.workload import Completion, Invocation

RETRY_MS = 200.0


class OnceMore:
    """A slot writes until one write succeeds, or `limit_ms` pass: whether it still can is what checker `liveness`
    wants to know. One for each slot."""

    def __init__(self, writes: Generator, *, limit_ms: float) -> None:
        self._writes, self._limit_ms = writes, limit_ms
        self._done = False
        self._started_ms: float | None = None
        self._ready_ms = 0.0

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
        if self._done or context.now_ms - self._started_ms > self._limit_ms:
            return None
        if context.now_ms < self._ready_ms:
            return Wait(self._ready_ms - context.now_ms)
        return self._writes.next(context)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        self._writes.completed(context, invocation, completion)
        self._done = self._done or completion.type == "ok"
        self._ready_ms = context.now_ms + RETRY_MS


class PollToTheEnd:
    """The given slots poll until nothing remains, by the answer's own word (`remaining`), or `limit_ms` pass. A poll that
    brings nothing says little: right after a heal a consumer may not have found its leaders yet."""

    def __init__(self, slots: Sequence[int], *, limit_ms: float) -> None:
        self._left = set(slots)
        self._limit_ms = limit_ms
        self._started_ms: float | None = None
        self._ready_ms: dict[int, float] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
        over = context.now_ms - self._started_ms > self._limit_ms
        if over or context.slot not in self._left:
            return None
        ready_ms = self._ready_ms.get(context.slot, 0.0)
        if context.now_ms < ready_ms:
            return Wait(ready_ms - context.now_ms)
        return Invocation(f="poll", extra={"drain": True})

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if completion.type == "ok" and completion.extra.get("remaining") == 0:
            self._left.discard(context.slot)
        elif completion.type != "ok":
            self._ready_ms[context.slot] = context.now_ms + RETRY_MS


async def remaining(consumer: Consumer, partitions: Sequence[TopicPartition]) -> int:
    """Offsets between where the consumer stands and where the partitions end."""
    if not partitions:
        return 0
    ends = await consumer.end_offsets(partitions)
    return sum([max(0, end - await consumer.position(partition)) for partition, end in ends.items()])
