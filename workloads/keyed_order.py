"""Workload `keyed-order`: records with keys, and whether each key is processed in the order in which it was sent.

    {"type":"invoke","process":1,"f":"send","key":"events/2","record_key":"k3","value":"k3#17"}
    {"type":"ok",    "process":4,"f":"poll","value":[["events/2",40,"k3#17"], …],"assigned":[…]}

Topic `events`. A key has one send under way at a time, whoever sends it, so that the order of its sends is known.
Consumers share the partitions, each partition by one of them; a poll is the processing. Which partition a record goes
to is `keyed-order.partitioner` (`workloads.partitioners`): a hash that all producers share keeps a key in one
partition and so in order; `mixed`, `sticky` and `round-robin` do not. Nor does a topic that grows meanwhile
(`keyed-order.grow.to`): what was sent to the old partition may be processed after what goes to the new one.

    {"type":"ok","process":1,"f":"grow","key":"events","value":5}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Log, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Context, Generator, Once, Phases, Rate, Wait
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test
from workloads.draining import OnceMore, PollToTheEnd
from workloads.growth import SENDS_BEFORE_GROWTH, Growth
from workloads.log_client import LogClient
from workloads.partitioners import NAMES, Partitioner, partitioner
from workloads.reading import partitions_of
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender
from workloads.tailing import Polls, Tail
from workloads.topics import create_topics

TOPIC = "events"
SEND_SHARE = 0.6
IDLE_MS = 20.0


class KeyedOrder:
    description = "keyed records: is each key processed in the order in which it was sent?"
    requires = frozenset({"log"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="keyed-order.partitions",
            default=4,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="keyed-order.keys",
            default=12,
            doc="Keys in use",
            scope="workload",
            minimum=1,
            maximum=10_000,
        ),
        Setting(
            name="keyed-order.partitioner",
            default="murmur2",
            doc="How producers choose a partition; `mixed`: every second one hashes with crc32",
            scope="workload",
            choices=NAMES,
        ),
        Setting(
            name="keyed-order.grow.to",
            default=0,
            doc="Partitions that the topic has in the end: one more after every so many sends; 0: it stays as it is",
            scope="workload",
            minimum=0,
            maximum=1_000,
        ),
    )
    checkers = ("keyed-order", "log", "liveness", "availability")
    default_rate = 60.0
    default_concurrency = 6

    def __init__(self) -> None:
        self._reached: dict[int, dict[TopicPartition, int]] = {}
        self._sends: Generator = Once(())

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config))}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload keyed-order needs at least 2, to send and to process")
        self._reached = {}
        await create_topics(test, {TOPIC: int(test.config["keyed-order.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        isolation = str(test.config.get("isolation.level", "read_committed"))
        consumers = _consumers(test.concurrency)
        own = [p for p in _partitions(test.config) if consumers[p.partition % len(consumers)] == slot]
        sender = Sender(log)
        tail = Tail(log, own, self._reached.setdefault(slot, {}), isolation)
        reader = Reader(log, isolation, high_watermark=False)
        handlers = {
            "send": sender.send,
            "grow": Growth(log).grow,
            "poll": tail.poll,
            "final-read": reader.final_read,
        }
        return LogClient(handlers, (sender, tail, reader))

    def generator(self, test: Test) -> Generator:
        sends = KeyedSends(
            TOPIC,
            keys=[f"k{number}" for number in range(int(test.config["keyed-order.keys"]))],
            partitions=int(test.config["keyed-order.partitions"]),
            grow_to=_most(test.config),
            name=str(test.config["keyed-order.partitioner"]),
        )
        sending = Rate(sends, test.rate * SEND_SHARE)
        polling = Rate(Polls(end_offset_share=0), test.rate * (1 - SEND_SHARE))
        consumers = _consumers(test.concurrency)
        busy = consumers[: _most(test.config)]
        slots: dict[int, Generator] = dict.fromkeys(busy, polling)
        slots.update({slot: sending for slot in range(test.concurrency) if slot not in consumers})
        self._sends = sends
        return BySlot(slots)

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        consumers = _consumers(test.concurrency)[: _most(test.config)]
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._sends, limit_ms=limit_ms * 0.2)
            for slot in range(test.concurrency)
            if slot not in _consumers(test.concurrency)
        }
        return Phases(
            Once([Invocation(f="grow", key=TOPIC, value=_most(test.config))] if _grows(test.config) else ()),
            BySlot(once_more),
            PollToTheEnd(consumers, limit_ms=limit_ms * 0.3),
            ReadBack([str(p) for p in _partitions(test.config)], limit_ms=limit_ms * 0.4, stable_limit_ms=0),
        )


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    """Those that there are in the end."""
    return partitions_of(TOPIC, _most(config))


def _most(config: Mapping[str, Any]) -> int:
    return max(int(config["keyed-order.partitions"]), int(config["keyed-order.grow.to"]))


def _grows(config: Mapping[str, Any]) -> bool:
    return _most(config) > int(config["keyed-order.partitions"])


def _consumers(concurrency: int) -> list[int]:
    """Every second slot, so that sends and polls share the hosts as in workload `produce`."""
    return [slot for slot in range(concurrency) if slot % 2]


class KeyedSends:
    """Generates keyed sends: a random key that has none under way, numbered within its key."""

    def __init__(self, topic: str, *, keys: list[str], partitions: int, name: str, grow_to: int = 0) -> None:
        self._topic, self._keys, self._partitions, self._name = topic, keys, partitions, name
        self._grow_to = grow_to
        self._until_growth = SENDS_BEFORE_GROWTH
        self._sequence = dict.fromkeys(keys, 0)
        self._busy: dict[int, str] = {}
        self._partitioners: dict[int, Partitioner] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._until_growth <= 0 and self._partitions < self._grow_to:
            self._until_growth = SENDS_BEFORE_GROWTH
            return Invocation(f="grow", key=self._topic, value=self._partitions + 1)
        under_way = set(self._busy.values())
        free = [key for key in self._keys if key not in under_way]
        if not free:
            return Wait(IDLE_MS)
        self._until_growth -= 1
        key = context.random.choice(free)
        self._busy[context.slot] = key
        number = self._sequence[key]
        self._sequence[key] = number + 1
        # A successor in the slot is the same program with the same partitioner.
        if context.slot not in self._partitioners:
            producer = len(self._partitioners)
            self._partitioners[context.slot] = partitioner(self._name, producer, hottest=self._keys[0])
        partition = self._partitioners[context.slot](key, self._partitions)
        return Invocation(
            f="send", key=f"{self._topic}/{partition}", value=f"{key}#{number}", extra={"record_key": key}
        )

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f == "send":
            self._busy.pop(context.slot, None)
        elif invocation.f == "grow" and completion.type == "ok":
            self._partitions = max(self._partitions, int(invocation.value))
