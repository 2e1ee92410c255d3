"""The beginning of the end of a run: whoever sends sends once more, whoever consumes consumes to the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from harness.capabilities import Consumer, TopicPartition
from harness.generators import Context, Generator, Wait
from harness.workload import Completion, Invocation

RETRY_MS = 200.0


class UntilDone:
    """A slot does the same until it is done, or `limit_ms` pass. One for each slot."""

    def __init__(self, *, limit_ms: float) -> None:
        self._limit_ms = limit_ms
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
        return self._once(context)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        self._done = self._enough(context, invocation, completion) or self._done
        self._ready_ms = context.now_ms + RETRY_MS

    @property
    def _since_ms(self) -> float:
        """When it began."""
        return self._started_ms or 0.0

    @abstractmethod
    def _once(self, context: Context) -> Invocation | Wait | None: ...
    @abstractmethod
    def _enough(self, context: Context, invocation: Invocation, completion: Completion) -> bool: ...


class OnceMore(UntilDone):
    """A slot writes until one write succeeds: whether it still can is what checker `liveness` wants to know."""

    def __init__(self, writes: Generator, *, limit_ms: float) -> None:
        super().__init__(limit_ms=limit_ms)
        self._writes = writes

    def _once(self, context: Context) -> Invocation | Wait | None:
        return self._writes.next(context)

    def _enough(self, context: Context, invocation: Invocation, completion: Completion) -> bool:
        self._writes.completed(context, invocation, completion)
        return completion.type == "ok"


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
