"""Workload `fanout`: many groups read one topic, each at its own pace and each all of it.

Topic `news`. The first slots send (`workloads.sending`); each of the others is the only reader of a group of its own
(`workloads.following`). What one group does must not show in another: after heal and recovery every group reads to
the end, and each must have been given every record.
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

TOPIC = "news"
SEND_SHARE = 0.5


class Fanout:
    description = "many groups on one topic: each is given every record, whatever the others do"
    requires = frozenset({"log", "groups"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="fanout.partitions",
            default=3,
            doc=f"Partitions of topic {TOPIC}",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
        Setting(
            name="fanout.groups",
            default=6,
            doc="Groups that read the topic, each with one slot; the other slots send",
            scope="workload",
            minimum=1,
            maximum=1_000,
        ),
    )
    checkers = ("delivery", "log", "liveness", "availability")
    default_rate = 60.0
    default_concurrency = 8

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {
            "leader": tuple(str(p) for p in _partitions(config)),
            "group-coordinator": tuple(f"g{n}" for n in range(int(config["fanout.groups"]))),
        }

    async def setup(self, test: Test) -> None:
        groups = int(test.config["fanout.groups"])
        if test.concurrency <= groups:
            raise UserError(
                f"--concurrency {test.concurrency}: workload fanout needs more slots than fanout.groups={groups}, "
                "one for each group and at least one to send"
            )
        await create_topics(test, {TOPIC: int(test.config["fanout.partitions"])})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        log: Log = test.system.client("log", test.cluster, host, test.config)
        isolation = str(test.config.get("isolation.level", "read_committed"))
        sender = Sender(log)
        follower = Follower(log, f"g{slot - _senders(test)}", _partitions(test.config), isolation)
        reader = Reader(log, isolation, high_watermark=False)
        handlers = {"send": sender.send, "poll": follower.poll, "final-read": reader.final_read}
        return LogClient(handlers, (sender, follower, reader))

    def generator(self, test: Test) -> Generator:
        sending = Rate(Sends([str(p) for p in _partitions(test.config)]), test.rate * SEND_SHARE)
        polling = Rate(Polls(end_offset_share=0), test.rate * (1 - SEND_SHARE))
        senders = _senders(test)
        slots: dict[int, Generator] = dict.fromkeys(range(senders), sending)
        slots.update(dict.fromkeys(range(senders, test.concurrency), polling))
        self._sends = sending
        return BySlot(slots)

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        senders = _senders(test)
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._sends, limit_ms=limit_ms * 0.2) for slot in range(senders)
        }
        return Phases(
            BySlot(once_more),
            PollToTheEnd(range(senders, test.concurrency), limit_ms=limit_ms * 0.3),
            ReadBack([str(p) for p in _partitions(test.config)], limit_ms=limit_ms * 0.4, stable_limit_ms=0),
        )

    _sends: Generator


def _partitions(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(TOPIC, int(config["fanout.partitions"]))


def _senders(test: Test) -> int:
    return test.concurrency - int(test.config["fanout.groups"])
