"""Workload `produce`: idempotent producers write, consumers with manual assignment follow, and in the end
everything is read back.

Topic `orders`. Slots take turns: the even ones send (`workloads.sending`), the odd ones poll
(`workloads.tailing`); after heal and recovery all of them read everything back
(`workloads.reading_back`). The history alone decides what was lost, doubled, changed or reordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Log, TopicPartition
from harness.generators import BySlot, Generator, Rate
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Test
from workloads.log_client import LogClient
from workloads.reading import partitions_of
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender, Sends
from workloads.tailing import Polls, Tail
from workloads.topics import create_topics

TOPIC = "orders"
SEND_SHARE = 0.6


class Produce:
    description = "idempotent producers, tailing consumers, a final read of everything"
    requires = frozenset({"log"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="produce.partitions",
            default=3,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="produce.batch.records",
            default=1,
            doc="Records that one send operation hands to its producer at once",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
    )
    checkers = ("log", "availability")
    default_rate = 40.0
    default_concurrency = 6

    def __init__(self) -> None:
        self._reached: dict[int, dict[TopicPartition, int]] = {}

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config))}

    async def setup(self, test: Test) -> None:
        self._reached = {}
        await create_topics(test, {TOPIC: int(test.config["produce.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        isolation = str(test.config.get("isolation.level", "read_committed"))
        sender = Sender(log)
        tail = Tail(log, _partitions(test.config), self._reached.setdefault(slot, {}), isolation)
        reader = Reader(log, isolation, high_watermark=False)
        handlers = {
            "send": sender.send,
            "poll": tail.poll,
            "end-offset": tail.end_offset,
            "final-read": reader.final_read,
        }
        return LogClient(handlers, (sender, tail, reader))

    def generator(self, test: Test) -> Generator:
        names = [str(p) for p in _partitions(test.config)]
        sends = Sends(names, batch=int(test.config["produce.batch.records"]))
        if test.concurrency == 1:
            return Rate(sends, test.rate)
        sending = Rate(sends, test.rate * SEND_SHARE)
        polling = Rate(Polls(), test.rate * (1 - SEND_SHARE))
        return BySlot({slot: polling if slot % 2 else sending for slot in range(test.concurrency)})

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        return ReadBack(
            [str(p) for p in _partitions(test.config)], limit_ms=limit_ms * 0.9, stable_limit_ms=0
        )


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["produce.partitions"]))
