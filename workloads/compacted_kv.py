"""Workload `compacted-kv`: a topic as a table: the latest record of a key is its value, an empty one deletes it.

    {"type":"ok","process":1,"f":"put","key":"k3","value":"k3=17","partition":"table/1","offset":40,"outcome":"committed"}
    {"type":"ok","process":0,"f":"put","key":"k3","partition":"table/1","offset":41}          (no value: a tombstone)
    {"type":"ok","process":4,"f":"view","key":"fresh","value":{"k1":[12,"k1=9"], …},
     "ends":{"table/0":44, …},"reached":true,"final":true}

Topic `table`, with `cleanup.policy=compact` unless `compacted-kv.policy` says otherwise. Writers put and delete, some of
them in transactions of which some abort. Followers keep a materialised view (key -> offset and value) and bring it up
to date by reading on; in the end they do so once more, and others build a `fresh` view from the beginning. Each must
show, of every key, the last that was acknowledged, or something later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import Consumer, Log, Producer, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Context, Generator, Phases, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, fail, info, ok
from workloads.draining import OnceMore, UntilDone
from workloads.eos import STABLE_SLACK_MS
from workloads.keys import Keys
from workloads.log_client import LogClient
from workloads.partitioners import by_murmur2
from workloads.reading import PROGRAMMING_ERRORS, describe, parse_partition, partitions_of, read_or_fail, text
from workloads.topics import create_topics

TOPIC = "table"
FRESH, FOLLOWING = "fresh", "following"
IDLE_POLLS = 4


class CompactedKv:
    description = (
        "a compacted topic as a table: every view shows the last that was put, or that it was deleted"
    )
    requires = frozenset({"log", "log-transactions"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="compacted-kv.partitions",
            default=2,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="compacted-kv.keys",
            default=12,
            doc="Keys in use at a time",
            scope="workload",
            minimum=1,
            maximum=10_000,
        ),
        Setting(
            name="compacted-kv.uses",
            default=40,
            doc="Writes of a key before it makes room for a new one and stays as it is",
            scope="workload",
            minimum=1,
        ),
        Setting(
            name="compacted-kv.policy",
            default="compact",
            doc="cleanup.policy of the topic",
            scope="workload",
            choices=("compact", "delete"),
        ),
        Setting(
            name="compacted-kv.segment.bytes",
            default=2048,
            doc="segment.bytes of the topic: small, so that there is something to compact",
            scope="workload",
            minimum=1024,
        ),
        Setting(
            name="compacted-kv.delete.share",
            default=0.15,
            doc="Share of writes that delete their key",
            scope="workload",
            minimum=0,
            maximum=1,
        ),
        Setting(
            name="compacted-kv.transaction.share",
            default=0.3,
            doc="Share of writers that put in transactions",
            scope="workload",
            minimum=0,
            maximum=1,
        ),
        Setting(
            name="compacted-kv.abort.probability",
            default=0.2,
            doc="Share of transactions that are aborted on purpose",
            scope="workload",
            minimum=0,
            maximum=1,
        ),
        Setting(
            name="compacted-kv.views.per.second",
            default=4.0,
            doc="How often a follower brings its view up to date",
            scope="workload",
            minimum=0.001,
            maximum=1_000,
        ),
    )
    checkers = ("compaction", "liveness", "availability")
    default_rate = 60.0
    default_concurrency = 6

    _puts: Generator

    def __init__(self) -> None:
        self._views: dict[int, View] = {}

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config))}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload compacted-kv needs at least 2, to put and to view")
        self._views = {}
        config = {
            "cleanup.policy": str(test.config["compacted-kv.policy"]),
            "segment.bytes": str(test.config["compacted-kv.segment.bytes"]),
        }
        await create_topics(test, {TOPIC: int(test.config["compacted-kv.partitions"])}, config)

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        transactional = slot < _writers(test.concurrency) * float(
            test.config["compacted-kv.transaction.share"]
        )
        putter = _Putter(log, f"table-{slot}" if transactional else None)
        isolation = str(test.config.get("isolation.level", "read_committed"))
        viewer = _Viewer(log, _partitions(test.config), isolation, self._views.setdefault(slot, View()))
        return LogClient({"put": putter.put, "view": viewer.view}, (putter, viewer))

    def generator(self, test: Test) -> Generator:
        puts = Rate(_Puts(test.config), test.rate)
        views = Rate(
            Repeat(lambda _: Invocation(f="view", key=FOLLOWING)),
            float(test.config["compacted-kv.views.per.second"]),
        )
        self._puts = puts
        writers = _writers(test.concurrency)
        return BySlot({slot: puts if slot < writers else views for slot in range(test.concurrency)})

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        writers = _writers(test.concurrency)
        stable_ms = float(test.config.get("transaction.timeout.ms", 10_000)) + STABLE_SLACK_MS
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._puts, limit_ms=limit_ms * 0.2) for slot in range(writers)
        }
        views: dict[int, Generator] = {
            slot: _LastView(
                FRESH if slot < writers else FOLLOWING, limit_ms=limit_ms * 0.6, stable_ms=stable_ms
            )
            for slot in [0, *range(writers, test.concurrency)]
        }
        return Phases(BySlot(once_more), BySlot(views))


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["compacted-kv.partitions"]))


def _writers(concurrency: int) -> int:
    return max(1, concurrency * 2 // 3)


class _Puts:
    """Values are `KEY=NUMBER`, each written once."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._keys = Keys("k", int(config["compacted-kv.keys"]), int(config["compacted-kv.uses"]))
        self._partitions = int(config["compacted-kv.partitions"])
        self._deletes = float(config["compacted-kv.delete.share"])
        self._aborts = float(config["compacted-kv.abort.probability"])
        self._last = 0

    def next(self, context: Context) -> Invocation:
        self._last += 1
        key = self._keys.draw(context.random)
        deletes = context.random.random() < self._deletes
        plan = "abort" if context.random.random() < self._aborts else "commit"
        partition = f"{TOPIC}/{by_murmur2(key, self._partitions)}"
        value = None if deletes else f"{key}={self._last}"
        return Invocation(f="put", key=key, value=value, extra={"partition": partition, "plan": plan})

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        return None


class _LastView(UntilDone):
    """Asks for a view until one has reached the end, with nothing hidden or when open transactions have had the time to
    be timed out."""

    def __init__(self, kind: str, *, limit_ms: float, stable_ms: float) -> None:
        super().__init__(limit_ms=limit_ms)
        self._kind, self._stable_ms = kind, stable_ms

    def _once(self, context: Context) -> Invocation:
        return Invocation(f="view", key=self._kind, extra={"final": True})

    def _enough(self, context: Context, invocation: Invocation, completion: Completion) -> bool:
        patient = context.now_ms - self._since_ms < self._stable_ms
        if completion.type != "ok" or not completion.extra["reached"]:
            return False
        return not (completion.extra.get("hidden") and patient)


class _Putter:
    def __init__(self, log: Log, transactional_id: str | None) -> None:
        self._log, self._transactional_id = log, transactional_id
        self._producer: Producer | None = None

    async def put(self, op: Invocation) -> Completion:
        extra: dict[str, Any] = {}
        if self._transactional_id is not None:
            extra["transactional_id"] = self._transactional_id
        if self._producer is None:
            producer = self._log.producer(transactional_id=self._transactional_id)
            try:
                await producer.start()
            except PROGRAMMING_ERRORS:
                raise
            except Exception as error:
                return fail(f"could not start: {describe(error)}", retire=True, **extra)
            self._producer = producer
        if self._transactional_id is None:
            return ok(op.value, offset=await self._send(op), **extra)
        try:
            await self._producer.begin()
            offset = await self._send(op)
            if op.extra["plan"] == "abort":
                await self._producer.abort()
                return fail("aborted on purpose", value=op.value, offset=offset, **extra)
            await self._producer.commit()
        except PROGRAMMING_ERRORS:
            raise
        except Exception as error:
            return info(describe(error), value=op.value, **extra)
        return ok(op.value, offset=offset, **extra)

    async def _send(self, op: Invocation) -> int | None:
        assert self._producer is not None
        topic, index = parse_partition(op.extra["partition"])
        value = None if op.value is None else op.value.encode()
        sent = await self._producer.send(topic, value, key=op.key.encode(), partition=index)
        return sent.offset

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.close()


class View:
    """Key -> offset and value, and how far each partition was read. It outlives the process that keeps it, as a table in
    a file does."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}
        self.positions: dict[TopicPartition, int] = {}


class _Viewer:
    """Brings a view up to date, or builds a fresh one."""

    def __init__(self, log: Log, partitions: Sequence[TopicPartition], isolation: str, kept: View) -> None:
        self._log, self._partitions, self._isolation, self._kept = log, list(partitions), isolation, kept
        self._consumer: Consumer | None = None
        self._watermarks: Consumer | None = None

    async def view(self, op: Invocation) -> Completion:
        view = View() if op.key == FRESH else self._kept
        return await read_or_fail(self._view(view, {} if "final" not in op.extra else {"final": True}))

    async def _view(self, view: View, extra: dict[str, Any]) -> Completion:
        if self._consumer is None or self._watermarks is None:
            self._watermarks = await self._log.consumer(isolation="read_uncommitted")
            self._consumer = await self._log.consumer(isolation=self._isolation)
        consumer = self._consumer
        ends = await consumer.end_offsets(self._partitions)
        marks = await self._watermarks.end_offsets(self._partitions)
        begins = await consumer.beginning_offsets(self._partitions)
        await consumer.assign(self._partitions)
        for partition in self._partitions:
            consumer.seek(partition, max(view.positions.get(partition, 0), begins[partition]))
        idle = 0
        while idle < IDLE_POLLS and not await self._at_the_end(ends):
            records = await consumer.poll(timeout_ms=300)
            idle = 0 if records else idle + 1
            for record in records:
                key = text(record.key or b"")
                if record.value:
                    view.rows[key] = [record.offset, text(record.value)]
                else:
                    view.rows.pop(key, None)
                view.positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        hidden = {str(p): marks[p] for p, end in ends.items() if marks[p] > end}
        told: dict[str, Any] = {"hidden": hidden} if hidden else {}
        return ok(
            {key: list(row) for key, row in sorted(view.rows.items())},
            ends={str(p): end for p, end in ends.items()},
            reached=await self._at_the_end(ends),
            isolation=self._isolation,
            **told,
            **extra,
        )

    async def _at_the_end(self, ends: Mapping[TopicPartition, int]) -> bool:
        assert self._consumer is not None
        return all([await self._consumer.position(p) >= end for p, end in ends.items()])

    async def close(self) -> None:
        for consumer in (self._consumer, self._watermarks):
            if consumer is not None:
                await consumer.close()
