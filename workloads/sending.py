"""`send`: one producer process appends to one partition.

    {"type":"invoke","process":3,"f":"send","key":"orders/0","value":"3:17"}
    {"type":"ok",    "process":3,"f":"send","key":"orders/0","value":"3:17","offset":42}

Values are `PROCESS:SEQUENCE`: unique, and they tell who sent them and in which order. `offset` is null where
the acknowledgement carries none. Sent several at once (`…batch.records` above 1), `value` and the
completion's `offsets` are lists, in the order in which the producer was handed them, and the operation is
`ok` only if every one was acknowledged and `fail` only if every one certainly failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.capabilities import DefiniteFailure, Log, Producer, Sent
from harness.generators import Context, Stateless
from harness.workload import Completion, Invocation, fail, info, ok
from workloads.reading import PROGRAMMING_ERRORS, describe, parse_partition


class Sends(Stateless):
    """Generates sends to random partitions."""

    def __init__(self, partitions: Sequence[str], *, batch: int = 1) -> None:
        self._partitions = list(partitions)
        self._batch = batch
        self._sequence: dict[int, int] = {}

    def next(self, context: Context) -> Invocation:
        partition = context.random.choice(self._partitions)
        values = [self._value(context.process) for _ in range(self._batch)]
        return Invocation(f="send", key=partition, value=values[0] if self._batch == 1 else values)

    def _value(self, process: int) -> str:
        sequence = self._sequence.get(process, 0)
        self._sequence[process] = sequence + 1
        return f"{process}:{sequence}"


class Sender:
    """A producer process."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._producer: Producer | None = None

    async def send(self, op: Invocation) -> Completion:
        if self._producer is None:
            producer = self._log.producer()
            try:
                await producer.start()
            except PROGRAMMING_ERRORS:
                raise
            except Exception as error:
                return fail(f"could not start: {describe(error)}", retire=True)
            self._producer = producer
        topic, index = parse_partition(op.key)
        if not isinstance(op.value, list):
            sent = await self._producer.send(topic, op.value.encode(), partition=index)
            return ok(op.value, offset=sent.offset)
        answers = await asyncio.gather(
            *(self._producer.send(topic, value.encode(), partition=index) for value in op.value),
            return_exceptions=True,
        )
        return _together(op.value, answers)

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.close()


def _together(values: list[str], answers: Sequence[Sent | BaseException]) -> Completion:
    errors = [a for a in answers if isinstance(a, BaseException)]
    for error in errors:
        if isinstance(error, PROGRAMMING_ERRORS) or not isinstance(error, Exception):
            raise error
    offsets = [None if isinstance(a, BaseException) else a.offset for a in answers]
    if not errors:
        return ok(values, offsets=offsets)
    if len(errors) == len(answers) and all(isinstance(e, DefiniteFailure) for e in errors):
        return fail(describe(errors[0]), value=values)
    return info(describe(errors[0]), value=values, offsets=offsets)
