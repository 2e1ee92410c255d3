"""Workload `group`: a consumer group whose members die, hang, leave and come back, and what it did with each record.

Topic `events` is filled by the first slots (`workloads.sending`). The others are members of group `workers`
(`workloads.group_member`), which share its partitions; what they process goes to a store outside the group
(`workloads.group_effects`), and when they commit says `group.policy`:

- `commit-after`: at least once. A crash between the two repeats records.
- `commit-before`: at most once. A crash between the two loses them.
- `auto-commit`: from time to time a poll commits what the polls before it returned, which is processed by then.
- `auto-commit-async`: the same, but processing goes on beside polling, and a crash loses what was only queued.
- `eos`: effects and offsets in one transaction, which the group's generation fences (KIP-447).

The topic may get more partitions meanwhile (`group.grow.to`), which members come to know of when their metadata is
refreshed. After heal and recovery the members drain the topic; then the effects and the topic are read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Groups, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Generator, Once, Phases, Rate
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Invocation, Test
from workloads.draining import OnceMore
from workloads.group_effects import Effects, Transactions
from workloads.group_effects import Topic as EffectsTopic
from workloads.group_member import Member
from workloads.group_policies import EOS, FENCED, SETTINGS
from workloads.group_turns import AskEffects, DrainGroup, Hazards, Turns
from workloads.growth import GrowingSends, Growth
from workloads.log_client import LogClient
from workloads.reading import partitions_of
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender
from workloads.topics import create_topics

TOPIC, EFFECTS, GROUP = "events", "effects", "workers"
SEND_SHARE = 0.6


class Group:
    description = "a consumer group whose members die, hang, leave and return: what became of each record"
    requires = frozenset({"log", "groups"})
    settings: tuple[Setting, ...] = SETTINGS
    checkers = ("group", "log", "availability")
    default_rate = 60.0
    default_concurrency = 8

    _sends: Generator

    def __init__(self) -> None:
        self._rows: list[list[Any]] = []

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        hazards = ("group.crash.probability", "group.leave.probability", "group.stall.probability")
        if sum(float(config[name]) for name in hazards) > 1:
            raise UserError(f"{', '.join(hazards)} add up to more than 1: lower one of them")

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": tuple(str(p) for p in _events(config)), "group-coordinator": (GROUP,)}

    async def setup(self, test: Test) -> None:
        if test.concurrency < 3:
            raise UserError(
                f"--concurrency {test.concurrency}: workload group needs at least 3, one to send and two members"
            )
        self._rows = []
        partitions = int(test.config["group.partitions"])
        topics = {TOPIC: partitions}
        if test.config["group.policy"] == EOS:
            topics[EFFECTS] = _most(test.config)
        await create_topics(test, topics)

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        config = test.config
        log: Groups = test.system.client("groups", test.cluster, host, config)
        sender = Sender(log)

        def now_ms() -> float:
            return test.cluster.now_ns() / 1_000_000

        effects = Effects(self._rows, process, now_ms, fenced=config["group.lock"] == FENCED)
        exactly_once = config["group.policy"] == EOS
        member = Member(
            log,
            group=GROUP,
            topic=TOPIC,
            policy=str(config["group.policy"]),
            batch=int(config["group.batch.records"]),
            interval_ms=float(config["auto.commit.interval.ms"]),
            record_ms=float(config["group.record.ms"]),
            instance=f"{GROUP}-{slot}" if config["group.static"] else None,
            effects=effects,
            transactions=Transactions(log, EFFECTS, f"{GROUP}-{slot}") if exactly_once else None,
            now_ms=now_ms,
        )
        reader = Reader(log, str(config.get("isolation.level", "read_committed")), high_watermark=False)
        store = EffectsTopic(log, partitions_of(EFFECTS, len(_events(config)))) if exactly_once else effects
        handlers = {
            "send": sender.send,
            "grow": Growth(log).grow,
            "consume": member.consume,
            "effects": store.effects,
            "final-read": reader.final_read,
        }
        return LogClient(handlers, (sender, member, reader, store))

    def generator(self, test: Test) -> Generator:
        feeders = _feeders(test)
        partitions, most = int(test.config["group.partitions"]), _most(test.config)
        self._sends = Rate(GrowingSends(TOPIC, partitions, grow_to=most), test.rate * SEND_SHARE)
        turns = Rate(Turns(self.hazards(test)), test.rate * (1 - SEND_SHARE))
        slots: dict[int, Generator] = dict.fromkeys(feeders, self._sends)
        slots.update(dict.fromkeys(range(feeders.stop, test.concurrency), turns))
        return BySlot(slots)

    def hazards(self, test: Test) -> Hazards:
        return Hazards.of(test.config, test.time_limit_ms)

    def final_generator(self, test: Test) -> Generator:
        limit_ms = float(test.config.get("final.timeout.ms", 120_000))
        names = [str(p) for p in _events(test.config)]
        once_more: dict[int, Generator] = {
            slot: OnceMore(self._sends, limit_ms=limit_ms * 0.1) for slot in _feeders(test)
        }
        draining: dict[int, Generator] = dict.fromkeys(
            range(_feeders(test).stop, test.concurrency), DrainGroup(names, limit_ms=limit_ms * 0.4)
        )
        grown = [Invocation(f="grow", key=TOPIC, value=len(names))] if _grows(test.config) else []
        return Phases(
            Once(grown),
            BySlot(once_more),
            BySlot(draining),
            AskEffects(limit_ms=limit_ms * 0.2),
            ReadBack(names, limit_ms=limit_ms * 0.3, stable_limit_ms=0),
        )


def _events(config: Mapping[str, Any]) -> list[TopicPartition]:
    """Those that there are in the end."""
    return partitions_of(TOPIC, _most(config))


def _most(config: Mapping[str, Any]) -> int:
    return max(int(config["group.partitions"]), int(config["group.grow.to"]))


def _grows(config: Mapping[str, Any]) -> bool:
    return _most(config) > int(config["group.partitions"])


def _feeders(test: Test) -> range:
    return range(max(1, test.concurrency // 4))
