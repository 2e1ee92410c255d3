"""Workload `sink`: records go from the log into a database, which no transaction of the log reaches.

    {"type":"ok","process":3,"f":"sink","key":"0","plan":"commit","outcome":"committed",
     "value":[["events/1",33,"0:17"], …],"position":[["events/1",34]],
     "resumed":[["events/1",33], …],"commits":[{"offsets":[["events/1",34]],"outcome":"ok"}]}
    {"type":"ok","process":3,"f":"rows","value":[["events/1",33,"0:17"], …]}

Topic `events` is filled by the first slots; the others run pipelines, which crash, stall and are replaced as those of
workload `eos` (`workloads.ownership`). A pipeline polls, writes to the database, and remembers how far it came
(`resumed`: where the group had its instance begin; `commits`: what it committed to the group, `ok` or `unknown`). The
three answers to exactly-once outside Kafka are `sink.mode`:

- `insert`: plain rows, then the offsets are committed to the group. A crash between the two repeats rows.
- `upsert`: the same, but a row is unique by partition and offset: repeating changes nothing.
- `offsets`: the offsets are kept in the database and move in the transaction that writes the rows, only from where
  this pipeline had seen them: a zombie's transaction finds them moved, and writes nothing.

After heal and recovery the pipelines drain the topic, the rows are read, and the topic is read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from harness.capabilities import Consumer, Log, Record, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Context, Generator, Once, Phases, Rate, Wait
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, fail, info, ok
from workloads.databases import Database, Mode, PostgresDatabase, SqliteDatabase
from workloads.draining import OnceMore
from workloads.log_client import LogClient
from workloads.ownership import Drain, Hazards, Ownership, Transfers
from workloads.reading import PROGRAMMING_ERRORS, describe, offsets_shown, partitions_of, read_or_fail, shown
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender, Sends
from workloads.topics import create_topics

TOPIC, GROUP = "events", "sink"
STEPS = ("polled", "written", "committed")
SEND_SHARE = 0.6


def _probability(name: str, default: float, doc: str) -> Setting:
    return Setting(name=name, default=default, doc=doc, scope="workload", minimum=0, maximum=1)


class Sink:
    description = "from the log into a database: plain inserts, upserts, or offsets kept in the database"
    requires = frozenset({"log", "groups"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="sink.mode",
            default="offsets",
            doc="How rows and progress get into the database: insert, upsert, or offsets in the same transaction",
            scope="workload",
            choices=("insert", "upsert", "offsets"),
        ),
        Setting(
            name="sink.url",
            default="",
            doc="PostgreSQL to write to, postgresql://…; empty: SQLite in this process (the only one in simulation)",
            scope="workload",
        ),
        Setting(
            name="sink.partitions",
            default=4,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="sink.pipelines",
            default=2,
            doc="Pipelines that share the partitions",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        _probability("sink.crash.probability", 0.04, "Share of batches in which the pipeline's process dies"),
        _probability("sink.stall.probability", 0.02, "Share of batches in which it sleeps and is replaced"),
    )
    checkers = ("delivery", "log", "availability")
    default_rate = 50.0
    default_concurrency = 6

    _sends: Generator

    def __init__(self) -> None:
        self._ownership = Ownership(0)
        self._database: Database | None = None

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        if float(config["sink.crash.probability"]) + float(config["sink.stall.probability"]) > 1:
            raise UserError(
                "sink.crash.probability and sink.stall.probability add up to more than 1: lower one"
            )

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config)), "group-coordinator": (GROUP,)}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 3:
            raise UserError(f"--concurrency {test.concurrency}: workload sink needs at least 3")
        self._ownership = Ownership(_pipelines(test))
        mode, url = cast(Mode, test.config["sink.mode"]), str(test.config["sink.url"])
        if url:
            try:
                await PostgresDatabase(mode, url).prepare()
            except OSError as error:
                raise UserError(
                    f"sink.url={url}: {error}: expected a PostgreSQL that can be reached from here; a simulation reaches "
                    "none, so leave sink.url empty there or run with --on local"
                ) from None
            self._database = None
        else:
            self._database = SqliteDatabase(mode)
        await create_topics(test, {TOPIC: int(test.config["sink.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        config = test.config
        log: Log = test.system.client("log", test.cluster, host, config)
        isolation = str(config.get("isolation.level", "read_committed"))
        database = self._database
        if database is None:
            database = PostgresDatabase(cast(Mode, config["sink.mode"]), str(config["sink.url"]))
        sender = Sender(log)
        pipeline = _Pipeline(log, database, test, process)
        reader = Reader(log, isolation, high_watermark=False)
        handlers = {
            "send": sender.send,
            "sink": pipeline.sink,
            "rows": pipeline.rows,
            "final-read": reader.final_read,
        }
        return LogClient(handlers, (sender, pipeline, reader))

    def generator(self, test: Test) -> Generator:
        config = test.config
        hazards = Hazards(
            abort=0,
            crash=float(config["sink.crash.probability"]),
            stall=float(config["sink.stall.probability"]),
            stall_ms=(1_000, 8_000),
        )
        sending = Rate(Sends([str(p) for p in _partitions(config)]), test.rate * SEND_SHARE)
        sinking = Rate(Sinking(Transfers(self._ownership, hazards)), test.rate * (1 - SEND_SHARE))
        self._sends = sending
        slots: dict[int, Generator] = dict.fromkeys(_feeders(test), sending)
        slots.update(dict.fromkeys(range(_feeders(test).stop, test.concurrency), sinking))
        return BySlot(slots)

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        names = [str(p) for p in _partitions(test.config)]
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._sends, limit_ms=limit_ms * 0.1) for slot in _feeders(test)
        }
        draining: dict[int, Generator] = dict.fromkeys(
            range(_feeders(test).stop, test.concurrency),
            Sinking(Drain(self._ownership, names, limit_ms=limit_ms * 0.4)),
        )
        return Phases(
            BySlot(once_more),
            BySlot(draining),
            Once([Invocation(f="rows")]),
            ReadBack(names, limit_ms=limit_ms * 0.4, stable_limit_ms=0),
        )


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["sink.partitions"]))


def _feeders(test: Test) -> range:
    return range(max(1, test.concurrency // 3))


def _pipelines(test: Test) -> int:
    """One fewer than there are slots for them, so that somebody can take over."""
    slots = test.concurrency - _feeders(test).stop
    return max(1, min(int(test.config["sink.pipelines"]), slots - 1, int(test.config["sink.partitions"])))


class Sinking:
    """What `eos` calls a transfer is here a `sink`, with steps of its own."""

    def __init__(self, transfers: Transfers | Drain) -> None:
        self._transfers = transfers

    def next(self, context: Context) -> Invocation | Wait | None:
        answer = self._transfers.next(context)
        if not isinstance(answer, Invocation):
            return answer
        extra = dict(answer.extra)
        if "at" in extra:
            extra["at"] = context.random.choice(STEPS[:2] if extra["plan"] == "stall" else STEPS)
        return msgspec.structs.replace(answer, f="sink", extra=extra)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f == "sink":
            asked = msgspec.structs.replace(invocation, f="transfer")
            self._transfers.completed(context, asked, completion)


class _Crash(Exception):
    """The plan says that the process dies here."""


class _Pipeline:
    """The instance of a pipeline that a process runs; another claim means a new one."""

    def __init__(self, log: Log, database: Database, test: Test, process: int) -> None:
        self._log, self._database, self._process = log, database, process
        self._mode = str(test.config["sink.mode"])
        self._partitions, self._count = _partitions(test.config), _pipelines(test)
        self._claim: tuple[str, int] | None = None
        self._consumer: Consumer | None = None
        self._next: dict[TopicPartition, int] = {}

    async def sink(self, op: Invocation) -> Completion:
        claim = (str(op.key), int(op.extra["claim"]))
        if claim != self._claim:
            await self._forget()
            self._claim = claim
        written: list[Record] = []
        told: dict[str, Any] = {}
        try:
            return await self._sink(op, written, told)
        except PROGRAMMING_ERRORS:
            raise
        except _Crash as crash:
            return info(f"crashed: {crash}", value=[shown(r) for r in written], **told)
        except Exception as error:
            if not written:
                return fail(describe(error), retire=True, **told)
            return info(describe(error), value=[shown(r) for r in written], **told)

    async def _sink(self, op: Invocation, written: list[Record], told: dict[str, Any]) -> Completion:
        consumer = await self._opened(int(op.key), told)
        records = await consumer.poll(timeout_ms=300, max_records=20)
        if not records:
            return ok([], outcome="empty", **await self._rest(op, consumer), **told)
        await _at(op, "polled")
        moved = {p: (self._next[p], offset) for p, offset in _after(records).items()}
        named = {str(p): move for p, move in moved.items()}
        rows = [(f"{r.topic}/{r.partition}", r.offset, shown(r)[2], str(self._process)) for r in records]
        written += records
        if not await self._database.write(rows, named if self._mode == "offsets" else None):
            return fail("somebody else has moved on: fenced by the offsets in the database", retire=True)
        await _at(op, "written")
        if self._mode != "offsets":
            await self._commit(consumer, {p: after for p, (_, after) in moved.items()}, told)
        self._next.update({p: after for p, (_, after) in moved.items()})
        value = [shown(record) for record in records]
        position = offsets_shown(sorted(self._next.items()))
        try:
            await _at(op, "committed")
        except _Crash as crash:
            return ok(value, retire=True, outcome="committed", position=position, crashed=str(crash), **told)
        return ok(value, outcome="committed", position=position, **told)

    @staticmethod
    async def _commit(
        consumer: Consumer, offsets: Mapping[TopicPartition, int], told: dict[str, Any]
    ) -> None:
        commit = {"offsets": offsets_shown(sorted(offsets.items())), "outcome": "unknown"}
        told["commits"] = [commit]
        await consumer.commit(offsets)
        commit["outcome"] = "ok"

    async def _opened(self, pipeline: int, told: dict[str, Any]) -> Consumer:
        if self._consumer is None:
            own = [p for p in self._partitions if p.partition % self._count == pipeline]
            consumer = await self._log.consumer(group=GROUP)
            await consumer.assign(own)
            if self._mode == "offsets":
                kept = await self._database.progress()
                self._next = {p: kept.get(str(p), 0) for p in own}
                for partition, offset in self._next.items():
                    consumer.seek(partition, offset)
            else:
                self._next = await consumer.seek_to_committed()
                told["resumed"] = offsets_shown(sorted(self._next.items()))
            self._consumer = consumer
        return self._consumer

    async def _rest(self, op: Invocation, consumer: Consumer) -> dict[str, Any]:
        extra: dict[str, Any] = {"position": offsets_shown(sorted(self._next.items()))}
        if op.extra["plan"] == "drain":
            assigned = consumer.assignment()
            ends = await consumer.end_offsets(assigned)
            extra["assigned"] = [str(p) for p in assigned]
            positions = {p: await consumer.position(p) for p in assigned}
            extra["remaining"] = sum(max(0, ends[p] - positions[p]) for p in assigned)
            if extra["remaining"] == 0:
                extra["position"] = offsets_shown(sorted(positions.items()))
        return extra

    async def rows(self, op: Invocation) -> Completion:
        async def read() -> Completion:
            return ok(
                [[partition, offset, value] for partition, offset, value, _ in await self._database.rows()]
            )

        return await read_or_fail(read())

    async def _forget(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def close(self) -> None:
        await self._forget()
        await self._database.close()


async def _at(op: Invocation, step: str) -> None:
    if op.extra.get("at") != step:
        return
    if op.extra["plan"] == "crash":
        raise _Crash(f"at step {step}")
    await asyncio.sleep(float(op.extra["stall_ms"]) / 1_000)


def _after(records: list[Record]) -> dict[TopicPartition, int]:
    return {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
