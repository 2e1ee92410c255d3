"""`transfer`: one transaction of a pipeline: poll inputs, begin, write outputs, add offsets, commit.

    {"type":"invoke","process":12,"f":"transfer","key":"0","txn":"12.4","plan":"abort"}
    {"type":"fail",  "process":12,"f":"transfer","key":"0","txn":"12.4","plan":"abort","outcome":"aborted",
     "value":{"inputs":[["input/1",33,"0:17"], …],"outputs":[["output/0",61,"1@33=0:17 by 12.4 1/3"], …]},
     "error":"aborted on purpose","resumed":[["input/1",33]]}

`key` is the group of input partitions (none with `subscribe`). `plan` says what the process is going to do:
`commit`, `abort`, `crash` (dies at the step `at`), `stall` (sleeps at `at` for `stall_ms`, longer than its
time-outs if need be, and goes on: a zombie, if somebody took over), `drain` (commit, and tell what is left).

Completion: `ok` with `outcome` `committed`, or `empty` when there was nothing to read; `fail` with
`aborted` only when the abort was acknowledged, or `not-begun`; else `info`, and the process ends.
An output's offset is null where no acknowledgement came. `resumed` are the committed offsets fetched in this
operation (at the beginning, after an abort). `remaining` (`drain`): inputs not yet read in `assigned`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from harness.capabilities import Consumer, DefiniteFailure, Fenced, Log, Producer, Record, TopicPartition
from harness.workload import Completion, Invocation, fail, info, ok
from workloads.outputs import outputs_of
from workloads.reading import PROGRAMMING_ERRORS, describe, offsets_shown, shown

STEPS = ("polled", "begun", "sent", "offsets-added", "committed")
"""Where a plan can crash or stall."""


class Mode(msgspec.Struct, frozen=True):
    """How the application is written (settings `eos.*`)."""

    input: str
    output: str
    output_partitions: int
    group: str
    batch: int
    transactional: bool
    offsets_in_transaction: bool
    rewind: bool


class _Crash(Exception):
    """The plan says that the process dies here."""


class Pipeline:
    """One instance: a transactional producer and its consumer. `partitions` None means `subscribe`."""

    def __init__(
        self, log: Log, mode: Mode, *, transactional_id: str, partitions: Sequence[TopicPartition] | None
    ) -> None:
        self._log = log
        self._mode = mode
        self._transactional_id = transactional_id
        self._partitions = partitions
        self._producer: Producer | None = None
        self._consumer: Consumer | None = None

    async def transfer(self, op: Invocation) -> Completion:
        transaction = _Transaction(op)
        transaction.extra["transactional_id"] = self._transactional_id
        try:
            return await self._transfer(transaction)
        except PROGRAMMING_ERRORS:
            raise
        except _Crash as crash:
            if transaction.committed:
                return ok(transaction.value, retire=True, crashed=str(crash), **transaction.told())
            return info(f"crashed: {crash}", value=transaction.value, **transaction.told())
        except Exception as error:
            return await self._give_up(transaction, error)

    async def _transfer(self, transaction: _Transaction) -> Completion:
        producer, consumer = await self._opened(transaction)
        records = await consumer.poll(timeout_ms=300, max_records=self._mode.batch)
        if not records:
            await self._measure_rest(transaction, consumer)
            return ok(transaction.value, **transaction.told("empty"))
        transaction.read(records, self._mode)
        await transaction.at("polled")
        if not self._mode.transactional:
            return await self._without_transaction(transaction, producer, consumer, records)
        await producer.begin()
        transaction.begun = True
        await transaction.at("begun")
        await self._send(transaction, producer)
        await transaction.at("sent")
        offsets = _next_offsets(records)
        if self._mode.offsets_in_transaction:
            await producer.send_offsets(offsets, consumer)
        await transaction.at("offsets-added")
        if transaction.plan == "abort":
            return await self._abort(transaction, "aborted on purpose")
        transaction.commit_asked = True
        await producer.commit()
        transaction.committed = True
        await transaction.at("committed")
        if not self._mode.offsets_in_transaction:
            await consumer.commit(offsets)
        return ok(transaction.value, **transaction.told("committed"))

    async def _without_transaction(
        self, transaction: _Transaction, producer: Producer, consumer: Consumer, records: Sequence[Record]
    ) -> Completion:
        """What is written is committed, and cannot be aborted; the offsets follow."""
        transaction.begun = transaction.commit_asked = True
        await transaction.at("begun")
        await self._send(transaction, producer)
        transaction.committed = True
        await transaction.at("sent")
        await transaction.at("offsets-added")
        await transaction.at("committed")
        await consumer.commit(_next_offsets(records))
        return ok(transaction.value, **transaction.told("committed"))

    async def _opened(self, transaction: _Transaction) -> tuple[Producer, Consumer]:
        """First the producer, whose start fences the predecessor and ends its transaction, then the
        committed offsets: the other way round an offset could be fetched that the predecessor still moves."""
        if self._producer is not None and self._consumer is not None:
            return self._producer, self._consumer
        producer = self._log.producer(
            transactional_id=self._transactional_id if self._mode.transactional else None
        )
        await producer.start()
        consumer = await self._log.consumer(group=self._mode.group)
        if self._partitions is None:
            await consumer.subscribe([self._mode.input])
        else:
            await consumer.assign(self._partitions)
            transaction.resumed = sorted((await consumer.seek_to_committed()).items())
        self._producer, self._consumer = producer, consumer
        return producer, consumer

    async def _send(self, transaction: _Transaction, producer: Producer) -> None:
        answers = await asyncio.gather(
            *(
                producer.send(partition.topic, value.encode(), partition=partition.partition)
                for partition, value in transaction.outputs
            ),
            return_exceptions=True,
        )
        for number, answer in enumerate(answers):
            if not isinstance(answer, BaseException):
                transaction.offsets[number] = answer.offset
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _abort(self, transaction: _Transaction, why: str) -> Completion:
        """`fail` once the abort is acknowledged. The position in memory has passed the aborted inputs:
        without the rewind the next commit would skip them."""
        assert self._producer is not None and self._consumer is not None
        transaction.abort_asked = True
        await self._producer.abort()
        retire = False
        if self._mode.rewind:
            try:
                transaction.resumed = sorted((await self._consumer.seek_to_committed()).items())
            except PROGRAMMING_ERRORS:
                raise
            except Exception as error:
                why, retire = f"{why}; then could not rewind: {describe(error)}", True
        return fail(why, value=transaction.value, retire=retire, **transaction.told("aborted"))

    async def _give_up(self, transaction: _Transaction, error: Exception) -> Completion:
        """Nothing begun: nothing happened. Commit not asked for, or certainly refused: an abort that is
        acknowledged settles it. A fenced producer cannot abort; what becomes of its transaction is
        its successor's and the coordinator's to decide, so that the outcome is unknown."""
        why = describe(error)
        if transaction.committed:
            return ok(transaction.value, retire=True, error_after=why, **transaction.told("committed"))
        if not transaction.begun:
            return fail(why, value=transaction.value, retire=True, **transaction.told("not-begun"))
        undecided = transaction.commit_asked and not isinstance(error, DefiniteFailure)
        if undecided or transaction.abort_asked or isinstance(error, Fenced):
            return info(why, value=transaction.value, **transaction.told("unknown"))
        try:
            return await self._abort(transaction, why)
        except PROGRAMMING_ERRORS:
            raise
        except Exception as second:
            return info(
                f"{why}; then could not abort: {describe(second)}",
                value=transaction.value,
                **transaction.told("unknown"),
            )

    async def _measure_rest(self, transaction: _Transaction, consumer: Consumer) -> None:
        if transaction.plan != "drain":
            return
        assigned = consumer.assignment()
        ends = await consumer.end_offsets(assigned) if assigned else {}
        rest = 0
        for partition in assigned:
            rest += max(0, ends[partition] - await consumer.position(partition))
        transaction.extra["assigned"] = [str(p) for p in assigned]
        transaction.extra["remaining"] = rest

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
        if self._producer is not None:
            await self._producer.close()


class _Transaction:
    """What one transfer has done so far."""

    def __init__(self, op: Invocation) -> None:
        self.plan: str = op.extra["plan"]
        self._at: str | None = op.extra.get("at")
        self._stall_ms: float = op.extra.get("stall_ms", 0.0)
        self._invoked = op.extra
        self.inputs: list[list[Any]] = []
        self.outputs: list[tuple[TopicPartition, str]] = []
        self.offsets: list[int | None] = []
        self.resumed: list[tuple[TopicPartition, int]] | None = None
        self.begun = False
        self.commit_asked = False
        self.abort_asked = False
        self.committed = False
        self.extra: dict[str, Any] = {}

    def read(self, records: Sequence[Record], mode: Mode) -> None:
        self.inputs = [shown(record) for record in records]
        self.outputs = outputs_of(records, self._invoked["txn"], mode.output, mode.output_partitions)
        self.offsets = [None] * len(records)

    async def at(self, step: str) -> None:
        if step != self._at:
            return
        if self.plan == "crash":
            raise _Crash(f"at step {step}")
        if self.plan == "stall":
            await asyncio.sleep(self._stall_ms / 1000)

    @property
    def value(self) -> dict[str, Any]:
        outputs = [[str(p), o, v] for (p, v), o in zip(self.outputs, self.offsets, strict=True)]
        return {"inputs": self.inputs, "outputs": outputs}

    def told(self, outcome: str | None = None) -> dict[str, Any]:
        """The extra fields of the completion."""
        if outcome is None:
            outcome = "committed" if self.committed else "unknown"
        extra = dict(self._invoked) | {"outcome": outcome} | self.extra
        if self.resumed is not None:
            extra["resumed"] = offsets_shown(self.resumed)
        return extra


def _next_offsets(records: Sequence[Record]) -> dict[TopicPartition, int]:
    offsets: dict[TopicPartition, int] = {}
    for record in records:
        partition = TopicPartition(record.topic, record.partition)
        offsets[partition] = max(record.offset + 1, offsets.get(partition, 0))
    return offsets
