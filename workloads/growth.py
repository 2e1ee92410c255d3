"""A topic that gets more partitions while it is written to.

{"type":"ok","process":1,"f":"grow","key":"events","value":5}
"""

from __future__ import annotations

from harness.capabilities import Log
from harness.generators import Context
from harness.workload import Completion, Invocation, info, ok
from workloads.reading import PROGRAMMING_ERRORS, describe
from workloads.sending import Sends

SENDS_BEFORE_GROWTH = 60


class Growth:
    def __init__(self, log: Log) -> None:
        self._log = log

    async def grow(self, op: Invocation) -> Completion:
        try:
            await self._log.add_partitions(str(op.key), int(op.value))
        except PROGRAMMING_ERRORS:
            raise
        except Exception as error:
            return info(describe(error))
        return ok(op.value)


class GrowingSends(Sends):
    """Generates sends to random partitions of a topic that has one more after every so many sends, up to `grow_to`."""

    def __init__(self, topic: str, partitions: int, *, grow_to: int) -> None:
        super().__init__([f"{topic}/{number}" for number in range(partitions)])
        self._topic, self._grow_to = topic, grow_to
        self._until_growth = SENDS_BEFORE_GROWTH

    def next(self, context: Context) -> Invocation:
        if self._until_growth <= 0 and len(self._partitions) < self._grow_to:
            self._until_growth = SENDS_BEFORE_GROWTH
            return Invocation(f="grow", key=self._topic, value=len(self._partitions) + 1)
        self._until_growth -= 1
        return super().next(context)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f == "grow" and completion.type == "ok":
            known = len(self._partitions)
            self._partitions += [f"{self._topic}/{n}" for n in range(known, int(invocation.value))]
