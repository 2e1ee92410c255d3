"""Workload `offsets`: clients that do nothing but ask where partitions end, while others write.

    {"type":"ok","process":4,"f":"end-offset","value":[["orders/0",43],…],"epochs":[["orders/0",7],…],
     "isolation":"read_uncommitted"}

Topic `orders`. The even slots send (`workloads.sending`), the odd ones probe: `epochs` are the leader epochs that the
answers carry. A new leader must not answer before it knows where its epoch began, or the end goes back (KIP-207). What
a deposed leader still answers is old, not wrong, and its epoch tells so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import Consumer, Log, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Generator, Once, Phases, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.draining import OnceMore
from workloads.log_client import LogClient
from workloads.reading import offsets_shown, partitions_of, read_or_fail
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender, Sends
from workloads.topics import create_topics

TOPIC = "orders"
SEND_SHARE = 0.4


class Offsets:
    description = "probes of the end of each partition, by leader epoch, while others write"
    requires = frozenset({"log"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="offsets.partitions",
            default=3,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
    )
    checkers = ("offsets", "log", "liveness", "availability")
    default_rate = 80.0
    default_concurrency = 6

    _sends: Generator

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config))}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload offsets needs at least 2, to send and to probe")
        await create_topics(test, {TOPIC: int(test.config["offsets.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        sender = Sender(log)
        probe = Probe(log, _partitions(test.config))
        reader = Reader(log, str(test.config.get("isolation.level", "read_committed")), high_watermark=False)
        handlers = {"send": sender.send, "end-offset": probe.end_offset, "final-read": reader.final_read}
        return LogClient(handlers, (sender, probe, reader))

    def generator(self, test: Test) -> Generator:
        sending = Rate(Sends([str(p) for p in _partitions(test.config)]), test.rate * SEND_SHARE)
        probing = Rate(Repeat(lambda _: Invocation(f="end-offset")), test.rate * (1 - SEND_SHARE))
        self._sends = sending
        return BySlot({slot: probing if slot % 2 else sending for slot in range(test.concurrency)})

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._sends, limit_ms=limit_ms * 0.2) for slot in range(0, test.concurrency, 2)
        }
        names = [str(p) for p in _partitions(test.config)]
        return Phases(
            BySlot(once_more),
            Once([Invocation(f="end-offset")] * 3),
            ReadBack(names, limit_ms=limit_ms * 0.6, stable_limit_ms=0),
        )


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["offsets.partitions"]))


class Probe:
    """A client that asks where partitions end, and consumes nothing."""

    def __init__(self, log: Log, partitions: Sequence[TopicPartition]) -> None:
        self._log, self._partitions = log, list(partitions)
        self._consumer: Consumer | None = None

    async def end_offset(self, op: Invocation) -> Completion:
        return await read_or_fail(self._ask())

    async def _ask(self) -> Completion:
        if self._consumer is None:
            consumer = await self._log.consumer(isolation="read_uncommitted")
            await consumer.assign(self._partitions)
            self._consumer = consumer
        ends = await self._consumer.end_offsets_by_epoch(self._partitions)
        epochs = [(p, end.leader_epoch) for p, end in ends.items() if end.leader_epoch is not None]
        return ok(
            offsets_shown([(p, end.offset) for p, end in ends.items()]),
            epochs=offsets_shown(epochs),
            isolation="read_uncommitted",
        )

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
