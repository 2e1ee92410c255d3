"""Workload `queue`: a topic used as a queue: what is put in is taken out once, and in order.

    {"type":"invoke","process":1,"f":"enqueue","value":"1:17","partition":"jobs/2"}
    {"type":"ok",    "process":4,"f":"dequeue","value":"1:17","partition":"jobs/2","offset":40}
    {"type":"ok",    "process":4,"f":"drain","value":[],"log_start":[["jobs/2",20]]}

Topic `jobs`, one group. Consumers share the partitions as the group hands them out. An element is taken by a dequeue
whose offset commit was acknowledged: a commit under a membership that is over is refused, so that nobody else gets
what one has taken. A dequeue that was refused took nothing (`fail`); of one that was not answered, the element is named
and its fate open (`info`). After heal and recovery they go on until the
queue is empty, which `drain` finds out by the group's offsets. `log_start` tells where partitions begin of which
retention has removed something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import Consumer, DefiniteFailure, Log, Record, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Context, Generator, Phases, Rate, Repeat, Stateless, Wait
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, fail, info, ok
from workloads.draining import OnceMore
from workloads.log_client import LogClient
from workloads.reading import PROGRAMMING_ERRORS, describe, partitions_of, read_or_fail, text
from workloads.sending import Sender
from workloads.topics import create_topics

TOPIC, GROUP = "jobs", "workers"
PUT_SHARE = 0.45
COMMIT_S = 3.0
"""The operation must outlive its commit, so that it can say which element is in doubt."""


class Queue:
    description = "a topic as a queue: one group takes every element once, and in order"
    requires = frozenset({"log", "groups"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="queue.partitions",
            default=3,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
    )
    checkers = ("total-queue", "fifo", "liveness", "availability")
    default_rate = 60.0
    default_concurrency = 6

    _puts: Generator

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config)), "group-coordinator": (GROUP,)}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload queue needs at least 2, to put in and to take out")
        await create_topics(test, {TOPIC: int(test.config["queue.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        putter = _Putter(log)
        worker = _Worker(log, _partitions(test.config))
        handlers = {"enqueue": putter.enqueue, "dequeue": worker.dequeue, "drain": worker.drain}
        return LogClient(handlers, (putter, worker))

    def generator(self, test: Test) -> Generator:
        putting = Rate(_Puts([str(p) for p in _partitions(test.config)]), test.rate * PUT_SHARE)
        taking = Rate(Repeat(lambda _: Invocation(f="dequeue")), test.rate * (1 - PUT_SHARE))
        self._puts = putting
        return BySlot({slot: taking if slot % 2 else putting for slot in range(test.concurrency)})

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._puts, limit_ms=limit_ms * 0.2) for slot in range(0, test.concurrency, 2)
        }
        draining: dict[int, Generator] = dict.fromkeys(
            range(1, test.concurrency, 2), _Empty(limit_ms=limit_ms * 0.7)
        )
        return Phases(BySlot(once_more), BySlot(draining))


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["queue.partitions"]))


class _Puts(Stateless):
    """Elements are `PROCESS:SEQUENCE`."""

    def __init__(self, partitions: Sequence[str]) -> None:
        self._partitions = list(partitions)
        self._sequence: dict[int, int] = {}

    def next(self, context: Context) -> Invocation:
        number = self._sequence.get(context.process, 0)
        self._sequence[context.process] = number + 1
        partition = context.random.choice(self._partitions)
        return Invocation(f="enqueue", value=f"{context.process}:{number}", extra={"partition": partition})


class _Empty:
    """Generates dequeues until a `drain` finds the queue empty, which is asked for now and then, or for `limit_ms`."""

    ASK_EVERY_MS = 500.0

    def __init__(self, *, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._started_ms: float | None = None
        self._ask_from_ms = 0.0
        self._empty = False

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
        if self._empty or context.now_ms - self._started_ms > self._limit_ms:
            return None
        if context.now_ms < self._ask_from_ms:
            return Invocation(f="dequeue")
        self._ask_from_ms = context.now_ms + self.ASK_EVERY_MS
        return Invocation(f="drain")

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        self._empty = self._empty or (invocation.f == "drain" and completion.type == "ok")


class _Putter:
    def __init__(self, log: Log) -> None:
        self._sender = Sender(log)

    async def enqueue(self, op: Invocation) -> Completion:
        return await self._sender.send(Invocation(f="send", key=op.extra["partition"], value=op.value))

    async def close(self) -> None:
        await self._sender.close()


class _Worker:
    """A member of the group. It takes nothing that was polled before its membership changed."""

    def __init__(self, log: Log, partitions: Sequence[TopicPartition]) -> None:
        self._log, self._every = log, list(partitions)
        self._consumer: Consumer | None = None
        self._onlooker: Consumer | None = None
        self._assignments = 0

    async def dequeue(self, op: Invocation) -> Completion:
        taken: list[Record] = []
        try:
            await self._take(taken)
        except PROGRAMMING_ERRORS:
            raise
        except DefiniteFailure as error:
            return await self._give_back(taken, error)
        except Exception as error:
            if not taken:
                return fail(describe(error), retire=True)
            return info(describe(error), value=text(taken[0].value))
        if not taken:
            return ok(None)
        record = taken[0]
        return ok(text(record.value), partition=f"{record.topic}/{record.partition}", offset=record.offset)

    async def _give_back(self, taken: list[Record], error: DefiniteFailure) -> Completion:
        """Nothing was taken, but the position has moved on. A member that died of it would only make the group rebalance
        again, and others fail as it did."""
        value = text(taken[0].value) if taken else None
        try:
            await (await self._opened()).seek_to_committed()
        except PROGRAMMING_ERRORS:
            raise
        except Exception as second:
            return fail(
                f"{describe(error)}; then could not rewind: {describe(second)}", value=value, retire=True
            )
        return fail(describe(error), value=value)

    async def _take(self, taken: list[Record]) -> None:
        consumer = await self._opened()
        before = self._assignments
        records = await consumer.poll(timeout_ms=300, max_records=1)
        if not records:
            return
        taken += records
        if self._assignments != before:
            raise DefiniteFailure("the group has rebalanced since the poll")
        async with asyncio.timeout(COMMIT_S):
            await consumer.commit({TopicPartition(r.topic, r.partition): r.offset + 1 for r in records})

    async def drain(self, op: Invocation) -> Completion:
        """`ok` with nothing: all that was ever put in was taken. The group's offsets say so, whoever is a member."""
        return await read_or_fail(self._drain())

    async def _drain(self) -> Completion:
        if self._onlooker is None:
            onlooker = await self._log.consumer(group=GROUP)
            await onlooker.assign(self._every)
            self._onlooker = onlooker
        ends = await self._onlooker.end_offsets(self._every)
        left = {p: end - (await self._onlooker.committed(p) or 0) for p, end in ends.items()}
        rest = sum(max(0, count) for count in left.values())
        if rest:
            return fail(f"{rest} are left")
        begins = (await self._onlooker.beginning_offsets(self._every)).items()
        log_start = [[f"{p.topic}/{p.partition}", offset] for p, offset in begins if offset]
        return ok([], log_start=log_start) if log_start else ok([])

    async def _opened(self) -> Consumer:
        if self._consumer is None:
            consumer = await self._log.consumer(group=GROUP)
            await consumer.subscribe([TOPIC], on_assigned=self._changed, on_revoked=self._changed)
            self._consumer = consumer
        return self._consumer

    def _changed(self, partitions: Sequence[TopicPartition]) -> None:
        self._assignments += 1

    async def close(self) -> None:
        for consumer in (self._consumer, self._onlooker):
            if consumer is not None:
                await consumer.close()
