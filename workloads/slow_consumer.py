"""Workload `slow-consumer`: one reader is slower than the producers, and its lag grows.

Topic `orders`. The first slots send (`workloads.sending`); the last is the only reader of group `slow`
(`workloads.following`), which is given `slow-consumer.poll.records` records a poll, and
`slow-consumer.polls.per.second` polls a second. Producers must not feel it: checker `delivery` measures their latency
while the lag grows. Where retention removes records faster than the reader comes to them (`log.retention.bytes`,
`log.retention.ms`), it jumps to the new beginning: what it never saw is lost to it, as the configuration says.
After heal and recovery it reads the rest at full speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Log, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Generator, Phases, Rate
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Test
from workloads.draining import OnceMore, PollToTheEnd
from workloads.following import Follower
from workloads.log_client import LogClient
from workloads.reading import partitions_of
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender, Sends
from workloads.tailing import Polls
from workloads.topics import create_topics

TOPIC, GROUP = "orders", "slow"


class SlowConsumer:
    description = "a reader slower than its producers: the lag grows, producers must not feel it"
    requires = frozenset({"log", "groups"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="slow-consumer.partitions",
            default=2,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="slow-consumer.poll.records",
            default=10,
            doc="Records that the slow reader takes in a poll",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="slow-consumer.polls.per.second",
            default=1.0,
            doc="Polls of the slow reader",
            scope="workload",
            minimum=0.001,
            maximum=1_000,
        ),
    )
    checkers = ("delivery", "log", "liveness", "availability")
    default_rate = 60.0
    default_concurrency = 5

    _sends: Generator

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _partitions(config)), "group-coordinator": (GROUP,)}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload slow-consumer needs at least 2, to send and to read")
        await create_topics(test, {TOPIC: int(test.config["slow-consumer.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        isolation = str(test.config.get("isolation.level", "read_committed"))
        sender = Sender(log)
        records = int(test.config["slow-consumer.poll.records"])
        follower = Follower(log, GROUP, _partitions(test.config), isolation, max_records=records)
        reader = Reader(log, isolation, high_watermark=False)
        handlers = {
            "send": sender.send,
            "poll": follower.poll,
            "final-read": reader.final_read,
        }
        return LogClient(handlers, (sender, follower, reader))

    def generator(self, test: Test) -> Generator:
        sending = Rate(Sends([str(p) for p in _partitions(test.config)]), test.rate)
        polling = Rate(Polls(end_offset_share=0), float(test.config["slow-consumer.polls.per.second"]))
        self._sends = sending
        reader = test.concurrency - 1
        slots: dict[int, Generator] = {**dict.fromkeys(range(reader), sending), reader: polling}
        return BySlot(slots)

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        reader = test.concurrency - 1
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._sends, limit_ms=limit_ms * 0.2) for slot in range(reader)
        }
        return Phases(
            BySlot(once_more),
            PollToTheEnd([reader], limit_ms=limit_ms * 0.3),
            ReadBack([str(p) for p in _partitions(test.config)], limit_ms=limit_ms * 0.4, stable_limit_ms=0),
        )


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["slow-consumer.partitions"]))
