"""Workload `hot-key`: one key is far busier than the others, and what can be done about it.

    {"type":"invoke","process":0,"f":"send","key":"clicks/2","record_key":"k0","value":"k0#17"}
    {"type":"ok","process":5,"f":"poll","value":[["clicks/2",40,"k0#17"], …],"assigned":[…]}
    {"type":"ok","process":5,"f":"publish","value":3}
    {"type":"ok","process":1,"f":"total","value":{"k0":812,"k1":90, …}}

Topic `clicks`: the hottest of the keys has `hot-key.share` of all records. Consumers share the partitions; each takes a
bounded number of records a poll and counts them by key. `hot-key.strategy`:

- `plain`: a key has one partition, whose consumer has the key's count. The hottest key's partition lags.
- `salted`: records of the hottest key are dealt to as many partitions as there are salts (`hot-key.salts`), in turn. The
  load is even; no consumer has the key's count any more, and who asks the one that used to have it is told too little.
- `two-stage`: salted, and consumers publish their counts (partition, key, count, up to which offset) to topic
  `partials`; a second stage adds up the latest of each, so that repeating and reordering change nothing.

Checker `skew` measures how even it is, how far the partitions lag and how much order is lost, and holds the totals
against what was acknowledged.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.capabilities import Consumer, Log, Producer, Record, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Context, Generator, Once, Pause, Phases, Rate, Stateless, Wait
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, fail, info, ok
from workloads.draining import OnceMore, PollToTheEnd
from workloads.log_client import LogClient
from workloads.partitioners import by_murmur2
from workloads.reading import PROGRAMMING_ERRORS, describe, parse_partition, partitions_of, read_or_fail, text
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender
from workloads.tailing import Tail
from workloads.topics import create_topics

TOPIC, PARTIALS = "clicks", TopicPartition("partials", 0)
POLL_EVERY_MS = 500.0
PUBLISH_SHARE = 0.2
PUBLISH_TRIES = 20
DRAIN_RECORDS = 500


class HotKey:
    description = "one key far busier than the others: hashed, salted, or salted and counted in two stages"
    requires = frozenset({"log"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="hot-key.strategy",
            default="two-stage",
            doc="What is done about the hottest key",
            scope="workload",
            choices=("plain", "salted", "two-stage"),
        ),
        Setting(
            name="hot-key.share",
            default=0.6,
            doc="Share of all records that the hottest key has",
            scope="workload",
            minimum=0,
            maximum=1,
        ),
        Setting(name="hot-key.keys", default=10, doc="Keys", scope="workload", minimum=1, maximum=10_000),
        Setting(
            name="hot-key.salts",
            default=4,
            doc="Partitions that the hottest key is spread over, unless there are fewer",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="hot-key.partitions",
            default=4,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="hot-key.poll.records",
            default=15,
            doc="Records that a consumer takes in a poll",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
    )
    checkers = ("skew", "log", "liveness", "availability")
    default_rate = 80.0
    default_concurrency = 8

    _clicks: Generator

    def __init__(self) -> None:
        self._reached: dict[int, dict[TopicPartition, int]] = {}
        self._counts = Counts()

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config))}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload hot-key needs at least 2, to send and to count")
        self._reached = {}
        self._counts = Counts()
        await create_topics(test, {TOPIC: int(test.config["hot-key.partitions"]), PARTIALS.topic: 1})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        config = test.config
        log: Log = test.system.client("log", test.cluster, host, config)
        isolation = str(config.get("isolation.level", "read_committed"))
        consumers = _consumers(test)
        own = [p for p in _partitions(config) if consumers[p.partition % len(consumers)] == slot]
        tail = Tail(log, own, self._reached.setdefault(slot, {}), isolation)
        sender = Sender(log)
        reader = Reader(log, isolation, high_watermark=False)
        counter = _Counter(log, tail, self._counts, own, config, isolation)
        handlers = {
            "send": sender.send,
            "poll": counter.poll,
            "publish": counter.publish,
            "total": counter.total,
            "final-read": reader.final_read,
        }
        return LogClient(handlers, (sender, tail, reader, counter))

    def generator(self, test: Test) -> Generator:
        self._clicks = Clicks(test.config)
        sending = Rate(self._clicks, test.rate)
        # Closed loops, so that each consumer has the same capacity whatever its partitions hold.
        polling = Pause(_Polls(two_stage=_two_stage(test.config)), POLL_EVERY_MS)
        consumers = _consumers(test)
        return BySlot({slot: polling if slot in consumers else sending for slot in range(test.concurrency)})

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        consumers = _consumers(test)
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._clicks, limit_ms=limit_ms * 0.1)
            for slot in range(test.concurrency)
            if slot not in consumers
        }
        publishing: dict[int, Generator] = {slot: _Publish() for slot in consumers}
        stages: list[Generator] = [
            BySlot(once_more),
            PollToTheEnd(consumers, limit_ms=limit_ms * 0.3),
        ]
        if _two_stage(test.config):
            stages.append(BySlot(publishing))
        names = [str(p) for p in _partitions(test.config)]
        everything = ReadBack(names, limit_ms=limit_ms * 0.4, stable_limit_ms=0)
        return Phases(*stages, Once([Invocation(f="total")] * 3), everything)


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["hot-key.partitions"]))


def _consumers(test: Test) -> list[int]:
    """The last half of the slots, at most one a partition."""
    count = min(test.concurrency // 2, int(test.config["hot-key.partitions"]))
    return list(range(test.concurrency - count, test.concurrency))


def _two_stage(config: Mapping[str, Any]) -> bool:
    return str(config["hot-key.strategy"]) == "two-stage"


class Clicks(Stateless):
    """Generates sends; a value is its key and a number within the key."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._keys = [f"k{n}" for n in range(int(config["hot-key.keys"]))]
        self._share = float(config["hot-key.share"])
        self._salts = 0 if config["hot-key.strategy"] == "plain" else int(config["hot-key.salts"])
        self._partitions = int(config["hot-key.partitions"])
        self._sent = dict.fromkeys(self._keys, 0)

    def next(self, context: Context) -> Invocation:
        key = self._draw(context.random)
        number = self._sent[key]
        self._sent[key] = number + 1
        # A salt in turn: what hashes to which partition is known, chance would only add noise.
        salt = number % self._salts if self._salts and key == self._keys[0] else 0
        partition = (by_murmur2(key, self._partitions) + salt) % self._partitions
        return Invocation(
            f="send", key=f"{TOPIC}/{partition}", value=f"{key}#{number}", extra={"record_key": key}
        )

    def _draw(self, rng: random.Random) -> str:
        if len(self._keys) == 1 or rng.random() < self._share:
            return self._keys[0]
        return rng.choice(self._keys[1:])


class _Polls(Stateless):
    def __init__(self, *, two_stage: bool) -> None:
        self._publishes = PUBLISH_SHARE if two_stage else 0.0

    def next(self, context: Context) -> Invocation:
        return Invocation(f="publish" if context.random.random() < self._publishes else "poll")


class _Publish:
    """A slot publishes until it is acknowledged."""

    def __init__(self) -> None:
        self._left = PUBLISH_TRIES

    def next(self, context: Context) -> Invocation | Wait | None:
        return None if self._left <= 0 else Invocation(f="publish")

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f == "publish":
            self._left = 0 if completion.type == "ok" else self._left - 1


class Counts:
    """What was counted: by partition, how often each key, up to which offset. It outlives the processes that count, as
    a file does; a record that comes again is not counted again."""

    def __init__(self) -> None:
        self.by_partition: dict[TopicPartition, dict[str, int]] = {}
        self.next_offset: dict[TopicPartition, int] = {}

    def add(self, records: list[Record]) -> None:
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            if record.offset < self.next_offset.get(partition, 0):
                continue
            counts = self.by_partition.setdefault(partition, {})
            key = text(record.value).partition("#")[0]
            counts[key] = counts.get(key, 0) + 1
            self.next_offset[partition] = record.offset + 1


class _Counter:
    """A consumer that counts, and, in two stages, whoever adds up."""

    def __init__(
        self,
        log: Log,
        tail: Tail,
        counts: Counts,
        own: list[TopicPartition],
        config: Mapping[str, Any],
        isolation: str,
    ) -> None:
        self._log, self._tail, self._counts, self._own = log, tail, counts, own
        self._config, self._isolation = config, isolation
        self._producer: Producer | None = None

    async def poll(self, op: Invocation) -> Completion:
        """In the end (`drain`) without the bound."""
        return await read_or_fail(self._poll(bool(op.extra.get("drain"))))

    async def _poll(self, drain: bool) -> Completion:
        most = DRAIN_RECORDS if drain else int(self._config["hot-key.poll.records"])
        records = await self._tail.records(max_records=most)
        self._counts.add(records)
        rest: dict[str, Any] = {"remaining": await self._tail.remaining()} if drain else {}
        value = [[f"{r.topic}/{r.partition}", r.offset, text(r.value)] for r in records]
        return ok(value, **rest, **self._tail.told())

    async def publish(self, op: Invocation) -> Completion:
        """The counts so far of this consumer's partitions."""
        try:
            if self._producer is None:
                producer = self._log.producer()
                await producer.start()
                self._producer = producer
            published = 0
            for partition in self._own:
                upto = self._counts.next_offset.get(partition, 0)
                for key, count in sorted(self._counts.by_partition.get(partition, {}).items()):
                    value = f"{partition} {key} {count} {upto}"
                    await self._producer.send(*PARTIALS[:1], value.encode(), key=key.encode(), partition=0)
                    published += 1
            return ok(published)
        except PROGRAMMING_ERRORS:
            raise
        except Exception as error:
            return info(describe(error))

    async def total(self, op: Invocation) -> Completion:
        return await read_or_fail(self._total())

    async def _total(self) -> Completion:
        """Refused where something is still to be counted, for then a total that is too low proves nothing."""
        consumer = await self._log.consumer(isolation=self._isolation)
        try:
            every = _partitions(self._config)
            ends = await consumer.end_offsets(every)
            totals, upto = self._asked()
            if _two_stage(self._config):
                totals, upto = await self._added_up(consumer)
        finally:
            await consumer.close()
        behind = [str(p) for p in every if upto.get(p, 0) < ends[p]]
        return fail(f"not all counted yet of {', '.join(behind)}") if behind else ok(totals)

    def _asked(self) -> tuple[dict[str, int], dict[TopicPartition, int]]:
        # Whoever has the key's own partition is asked; where it was salted, that is no longer all.
        count = int(self._config["hot-key.partitions"])
        totals: dict[str, int] = {}
        for number in range(int(self._config["hot-key.keys"])):
            key = f"k{number}"
            own = TopicPartition(TOPIC, by_murmur2(key, count))
            totals[key] = self._counts.by_partition.get(own, {}).get(key, 0)
        return totals, self._counts.next_offset

    async def _added_up(self, consumer: Consumer) -> tuple[dict[str, int], dict[TopicPartition, int]]:
        """Of each partition and key the partial that counts furthest; and how far that is by partition."""
        await consumer.assign([PARTIALS])
        end = (await consumer.end_offsets([PARTIALS]))[PARTIALS]
        furthest: dict[tuple[TopicPartition, str], tuple[int, int]] = {}
        while await consumer.position(PARTIALS) < end:
            for record in await consumer.poll(timeout_ms=300):
                partition, key, count, upto = text(record.value).split(" ")
                place = (parse_partition(partition), key)
                furthest[place] = max(furthest.get(place, (0, 0)), (int(upto), int(count)))
        totals: dict[str, int] = {}
        reached: dict[TopicPartition, int] = {}
        for (counted_in, key), (offset, counted) in sorted(furthest.items()):
            totals[key] = totals.get(key, 0) + counted
            reached[counted_in] = max(reached.get(counted_in, 0), offset)
        return totals, reached

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.close()
