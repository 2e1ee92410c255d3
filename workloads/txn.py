"""Workload `txn`: Kafka transactions of sends and polls, as Jepsen's test of Kafka has them.

    {"type":"invoke","process":3,"f":"txn","key":"1","txn":"3.7","plan":"commit",
     "value":[["send","accounts/0","12"],["poll"],["send","accounts/2","13"]]}
    {"type":"ok",    "process":3,"f":"txn", …,"outcome":"committed","isolation":"read_committed",
     "value":[["send","accounts/0",[40,"12"]],["poll",{"accounts/1":[[17,"9"]]}],["send","accounts/2",[5,"13"]]]}

Topic `accounts`. `key` names the transactional id (`txn-1`), which a successor takes over and so fences its
predecessor; polls go on where the process was, whatever becomes of the transaction around them. `plan` as in
workload `eos`: `commit`, `abort`, `crash` (dies at the step `at`), `stall` (sleeps there, and somebody takes over).
After heal and recovery each id commits once more, and everything is read back. One graph of transactions judges it
(`--model kafka` of checker `elle`): what was aborted, uncommitted or torn, and cycles of reads.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from harness.capabilities import DefiniteFailure, Fenced, Log, Producer, TopicPartition
from harness.errors import UserError
from harness.generators import Context, Generator, Phases, Rate, Wait
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, fail, info, ok
from workloads.eos import STABLE_SLACK_MS
from workloads.log_client import LogClient
from workloads.ownership import IDLE_MS, Hazards, Ownership
from workloads.reading import PROGRAMMING_ERRORS, describe, parse_partition, partitions_of, text
from workloads.reading_back import ReadBack, Reader
from workloads.tailing import Tail
from workloads.topics import create_topics

TOPIC = "accounts"
STEPS = ("begun", "done", "committed")
"""Where a plan can crash; a stall is at one of the first two."""


def _probability(name: str, default: float, doc: str) -> Setting:
    return Setting(name=name, default=default, doc=doc, scope="workload", minimum=0, maximum=1)


class Txn:
    description = "Kafka transactions of sends and polls, judged by one graph of transactions"
    requires = frozenset({"log", "log-transactions"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="txn.partitions",
            default=4,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="txn.length",
            default=4,
            doc="Most micro-operations of a transaction",
            scope="workload",
            minimum=1,
            maximum=100,
        ),
        _probability("txn.abort.probability", 0.1, "Share of transactions that are aborted on purpose"),
        _probability("txn.crash.probability", 0.03, "Share of transactions in which the process dies"),
        _probability(
            "txn.stall.probability",
            0.01,
            "Share of transactions in which the process sleeps, up to longer than transaction.timeout.ms",
        ),
        Setting(
            name="elle.model",
            default="kafka",
            choices=("kafka",),
            scope="workload",
            doc="What a history of this workload is judged as",
        ),
    )
    checkers = ("elle", "log", "liveness", "availability")
    default_rate = 30.0
    default_concurrency = 5

    def __init__(self) -> None:
        self._ownership = Ownership(0)
        self._reached: dict[str, dict[TopicPartition, int]] = {}
        self._last = 0

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        hazards = ("txn.abort.probability", "txn.crash.probability", "txn.stall.probability")
        if sum(float(config[name]) for name in hazards) > 1:
            raise UserError(f"{', '.join(hazards)} add up to more than 1: lower one of them")

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        ids = tuple(f"txn-{n}" for n in range(self.default_concurrency - 1))
        return {"leader": tuple(str(p) for p in _partitions(config)), "coordinator": ids}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload txn needs at least 2, so that somebody can take over")
        self._ownership = Ownership(test.concurrency - 1)
        self._reached = {}
        self._last = 0
        await create_topics(test, {TOPIC: int(test.config["txn.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        isolation = str(test.config.get("isolation.level", "read_committed"))
        instances = _Instances(log, _partitions(test.config), self._reached, isolation)
        reader = Reader(log, isolation, high_watermark=True)
        return LogClient({"txn": instances.txn, "final-read": reader.final_read}, (instances, reader))

    def generator(self, test: Test) -> Generator:
        config = test.config
        timeout_ms = float(config.get("transaction.timeout.ms", 10_000))
        hazards = Hazards(
            abort=float(config["txn.abort.probability"]),
            crash=float(config["txn.crash.probability"]),
            stall=float(config["txn.stall.probability"]),
            stall_ms=(0.2 * timeout_ms, 1.3 * timeout_ms),
        )
        return Rate(_Transactions(self, test.config, hazards), test.rate)

    def final_generator(self, test: Test) -> Generator:
        config = test.config
        limit_ms = float(config.get("final.timeout.ms", 120_000))
        everything = ReadBack(
            [str(p) for p in _partitions(config)],
            limit_ms=limit_ms * 0.5,
            stable_limit_ms=float(config.get("transaction.timeout.ms", 10_000)) + STABLE_SLACK_MS,
        )
        return Phases(_OnceMore(self, config, limit_ms=limit_ms * 0.4), everything)

    # ── what is drawn ────────────────────────────────────────────────────────────────────────────────────

    @property
    def ownership(self) -> Ownership:
        return self._ownership

    def program(self, rng: random.Random, config: Mapping[str, Any]) -> list[list[Any]]:
        """Sends and polls half and half; every value is sent once."""
        drawn: list[list[Any]] = []
        for _ in range(rng.randint(1, int(config["txn.length"]))):
            drawn.append(["poll"] if rng.random() < 0.4 else self.send(rng, config))
        return drawn

    def send(self, rng: random.Random, config: Mapping[str, Any]) -> list[Any]:
        self._last += 1
        return ["send", f"{TOPIC}/{rng.randrange(int(config['txn.partitions']))}", str(self._last)]


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["txn.partitions"]))


class _Transactions:
    """Generates transactions, for ever. A transactional id whose process ended, or sleeps, is anybody's."""

    def __init__(self, workload: Txn, config: Mapping[str, Any], hazards: Hazards) -> None:
        self._workload, self._config, self._hazards = workload, config, hazards

    def next(self, context: Context) -> Invocation | Wait | None:
        ownership = self._workload.ownership
        number = ownership.of_or_taken_by(context.slot, context.now_ms)
        if number is None:
            return Wait(IDLE_MS)
        plan = self._plan(context)
        invocation = _invocation(
            ownership, context, number, plan, self._workload.program(context.random, self._config)
        )
        if plan["plan"] == "stall":
            ownership.release(
                number, from_ms=context.now_ms + plan["stall_ms"] * context.random.uniform(0.1, 0.9)
            )
        return invocation

    def _plan(self, context: Context) -> dict[str, Any]:
        draw, hazards = context.random.random(), self._hazards
        if draw < hazards.abort:
            return {"plan": "abort"}
        if draw < hazards.abort + hazards.crash:
            return {"plan": "crash", "at": context.random.choice(STEPS)}
        if draw < hazards.abort + hazards.crash + hazards.stall:
            stall_ms = round(context.random.uniform(*hazards.stall_ms))
            return {"plan": "stall", "at": context.random.choice(STEPS[:2]), "stall_ms": stall_ms}
        return {"plan": "commit"}

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        _release_at_end(self._workload.ownership, context, invocation, completion)


class _OnceMore:
    """After the heal every transactional id commits once more, or `limit_ms` pass: whether it still can is what
    checker `liveness` wants to know."""

    def __init__(self, workload: Txn, config: Mapping[str, Any], *, limit_ms: float) -> None:
        self._workload, self._config, self._limit_ms = workload, config, limit_ms
        self._started_ms: float | None = None
        self._done: set[int] = set()

    def next(self, context: Context) -> Invocation | Wait | None:
        ownership = self._workload.ownership
        if self._started_ms is None:
            self._started_ms = context.now_ms
            ownership.new_phase()
        if len(self._done) == len(ownership.held_by) or context.now_ms - self._started_ms > self._limit_ms:
            return None
        number = ownership.of_or_taken_by(context.slot, context.now_ms)
        if number is None or number in self._done:
            return Wait(IDLE_MS)
        program = [self._workload.send(context.random, self._config), ["poll"]]
        return _invocation(ownership, context, number, {"plan": "commit"}, program)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f != "txn":
            return
        if completion.type == "ok":
            self._done.add(int(invocation.key))
            self._workload.ownership.release(int(invocation.key), from_ms=float("inf"))
        _release_at_end(self._workload.ownership, context, invocation, completion)


def _invocation(
    ownership: Ownership, context: Context, number: int, plan: dict[str, Any], program: list[list[Any]]
) -> Invocation:
    transfer = ownership.transfer(context, number, plan)
    return Invocation(
        f="txn", key=transfer.key, value=program, extra=transfer.extra, timeout_ms=transfer.timeout_ms
    )


def _release_at_end(
    ownership: Ownership, context: Context, invocation: Invocation, completion: Completion
) -> None:
    ended = completion.type == "info" or completion.retire
    if invocation.f == "txn" and ended and ownership.held_by[int(invocation.key)] == context.slot:
        ownership.release(int(invocation.key), from_ms=context.now_ms)


class _Crash(Exception):
    """The plan says that the process dies here."""


class _Instances:
    """The instance of a transactional id that a process runs; another claim means a new one."""

    def __init__(
        self,
        log: Log,
        partitions: list[TopicPartition],
        reached: dict[str, dict[TopicPartition, int]],
        isolation: str,
    ) -> None:
        self._log, self._partitions = log, partitions
        self._reached, self._isolation = reached, isolation
        self._claim: tuple[str, int] | None = None
        self._producer: Producer | None = None
        self._tail: Tail | None = None

    async def txn(self, op: Invocation) -> Completion:
        claim = (str(op.key), int(op.extra["claim"]))
        if claim != self._claim:
            await self.close()
            self._claim = claim
        if self._producer is None:
            producer = self._log.producer(transactional_id=f"txn-{op.key}")
            try:
                await producer.start()
            except PROGRAMMING_ERRORS:
                raise
            except Exception as error:
                return fail(f"could not start: {describe(error)}", retire=True, outcome="not-begun")
            self._producer = producer
        if self._tail is None:
            reached = self._reached.setdefault(str(op.key), {})
            self._tail = Tail(self._log, self._partitions, reached, self._isolation, transactions=True)
        running = _Running(op, self._producer, self._tail)
        try:
            return await running.run()
        except PROGRAMMING_ERRORS:
            raise
        except _Crash as crash:
            if running.committed:
                return ok(running.value, retire=True, crashed=str(crash), **running.told("committed"))
            return info(f"crashed: {crash}", value=running.value, **running.told("unknown"))
        except Exception as error:
            return await running.give_up(error)

    async def close(self) -> None:
        tail, self._tail = self._tail, None
        producer, self._producer = self._producer, None
        if tail is not None:
            await tail.close()
        if producer is not None:
            await producer.close()


class _Running:
    """One transaction, and what it has done so far."""

    def __init__(self, op: Invocation, producer: Producer, tail: Tail) -> None:
        self._op, self._producer, self._tail = op, producer, tail
        self.value: list[list[Any]] = [list(micro) for micro in op.value]
        self.begun = self.commit_asked = self.abort_asked = self.committed = False
        self._polling = False

    async def run(self) -> Completion:
        await self._producer.begin()
        self.begun = True
        await self._at("begun")
        for place, micro in enumerate(self._op.value):
            self.value[place] = await self._micro(micro)
        await self._at("done")
        if self._op.extra["plan"] == "abort":
            return await self._abort("aborted on purpose")
        self.commit_asked = True
        await self._producer.commit()
        self.committed = True
        await self._at("committed")
        return ok(self.value, **self.told("committed"))

    async def _micro(self, micro: list[Any]) -> list[Any]:
        if micro[0] == "poll":
            polled: dict[str, list[list[Any]]] = {}
            self._polling = True
            records = await self._tail.records(timeout_ms=100, max_records=20)
            self._polling = False
            for record in records:
                name = f"{record.topic}/{record.partition}"
                polled.setdefault(name, []).append([record.offset, text(record.value)])
            return ["poll", polled]
        _, key, value = micro
        topic, index = parse_partition(key)
        sent = await self._producer.send(topic, value.encode(), partition=index)
        return ["send", key, value if sent.offset is None else [sent.offset, value]]

    async def _at(self, step: str) -> None:
        if self._op.extra.get("at") != step:
            return
        if self._op.extra["plan"] == "crash":
            raise _Crash(f"at step {step}")
        await asyncio.sleep(float(self._op.extra["stall_ms"]) / 1_000)

    async def _abort(self, why: str) -> Completion:
        self.abort_asked = True
        await self._producer.abort()
        # A poll that failed may have moved on past records that it never handed out.
        return fail(why, value=self.value, retire=self._polling, **self.told("aborted"))

    async def give_up(self, error: Exception) -> Completion:
        """An abort that is acknowledged settles it, unless the commit had been asked for and not certainly refused.
        A fenced producer cannot abort: what becomes of its transaction is its successor's to decide."""
        why = describe(error)
        if self.committed:
            return ok(self.value, retire=True, error_after=why, **self.told("committed"))
        if not self.begun:
            return fail(why, value=self.value, retire=True, **self.told("not-begun"))
        undecided = self.commit_asked and not isinstance(error, DefiniteFailure)
        if undecided or self.abort_asked or isinstance(error, Fenced):
            return info(why, value=self.value, **self.told("unknown"))
        try:
            return await self._abort(why)
        except PROGRAMMING_ERRORS:
            raise
        except Exception as second:
            why = f"{why}; then could not abort: {describe(second)}"
            return info(why, value=self.value, **self.told("unknown"))

    def told(self, outcome: str) -> dict[str, Any]:
        return {"outcome": outcome, **self._tail.told()}
