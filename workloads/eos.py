"""Workload `eos`: read-process-write with transactions, by pipelines that crash, stall and are replaced.

Topic `input` is filled by producers (`workloads.sending`). Pipelines (`workloads.pipeline`) carry each input
to one output in topic `output` (`workloads.outputs`), each under the transactional id `eos-N`, so that whoever
takes a pipeline over fences its predecessor. A consumer follows `output` (`workloads.tailing`). After heal and
recovery the pipelines drain the input, both topics are read back, and the group's committed offsets
are fetched (`workloads.committed`).

Right and wrong ways to write the application are settings:

- `eos.assignment` `manual`: each pipeline owns fixed input partitions, as before KIP-447; the transactional
  id alone fences. `subscribe`: the group hands out partitions, and its generation must fence.
- `eos.offsets` `separate`: offsets are committed after the transaction. A crash between the two repeats.
- `eos.producer` `idempotent`: no transactions at all. A retry is recognised, a new instance's repetition is not.
- `eos.rewind` `false`: after an abort the consumer goes on where it was. The aborted inputs are skipped.
- `eos.transactional.id` `instance`: a new id for every instance. Nobody is fenced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from harness.capabilities import Log, TopicPartition
from harness.errors import UserError
from harness.generators import BySlot, Generator, Phases, Rate
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test
from workloads.committed import AskCommitted, CommittedOffsets
from workloads.eos_settings import SETTINGS
from workloads.log_client import LogClient
from workloads.ownership import Drain, Hazards, Ownership, Transfers
from workloads.pipeline import Mode, Pipeline
from workloads.reading import partitions_of
from workloads.reading_back import ReadBack, Reader
from workloads.sending import Sender, Sends
from workloads.tailing import Polls, Tail
from workloads.topics import create_topics

INPUT, OUTPUT, GROUP = "input", "output", "eos"
FEED_SHARE, TRANSFER_SHARE, TAIL_SHARE = 0.5, 0.3, 0.2
STABLE_SLACK_MS = 10_000.0
"""What a coordinator may take beyond `transaction.timeout.ms` to end a transaction that nobody ends."""


class Roles(msgspec.Struct, frozen=True):
    """Who does what, by slot: feeders first, then pipeline slots (one more than there are pipelines), then
    consumers of the output."""

    feeders: range
    pipelines: range
    tails: range
    pipeline_count: int


def roles(concurrency: int, config: Mapping[str, Any]) -> Roles:
    tails = max(1, concurrency // 6) if concurrency >= 3 else 0
    feeders = max(1, concurrency // 3)
    slots = concurrency - tails - feeders
    count = slots
    if config["eos.assignment"] == "manual":
        count = max(1, min(int(config["eos.pipelines"]), slots - 1, int(config["eos.partitions"])))
    return Roles(range(feeders), range(feeders, feeders + slots), range(feeders + slots, concurrency), count)


class Eos:
    description = "transactional read-process-write pipelines that crash, stall and are replaced"
    requires = frozenset({"log", "log-transactions", "groups"})
    settings = SETTINGS
    checkers = ("exactly-once", "log", "availability")
    default_rate = 40.0
    default_concurrency = 6

    def __init__(self) -> None:
        self._reached: dict[int, dict[TopicPartition, int]] = {}
        self._ownership = Ownership(0)

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        hazards = ("eos.abort.probability", "eos.crash.probability", "eos.stall.probability")
        if sum(float(config[name]) for name in hazards) > 1:
            raise UserError(f"{', '.join(hazards)} add up to more than 1: lower one of them")

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {
            "leader": tuple(str(p) for p in _inputs(config) + _outputs(config)),
            "coordinator": tuple(f"{GROUP}-{n}" for n in range(int(config["eos.pipelines"]))),
            "group-coordinator": (GROUP,),
        }

    async def setup(self, test: Test) -> None:
        if test.concurrency < 2:
            raise UserError("--concurrency 1: workload eos needs at least 2, one to feed and one to process")
        self._reached = {}
        self._ownership = Ownership(roles(test.concurrency, test.config).pipeline_count)
        partitions = int(test.config["eos.partitions"])
        await create_topics(test, {INPUT: partitions, OUTPUT: partitions})

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        config = test.config
        log: Log = test.system.client("log", test.cluster, host, config)
        isolation = str(config.get("isolation.level", "read_committed"))
        sender = Sender(log)
        instances = _Instances(log, test, process)
        tail = Tail(log, _outputs(config), self._reached.setdefault(slot, {}), isolation, transactions=True)
        reader = Reader(log, isolation, high_watermark=True)
        offsets = CommittedOffsets(log, GROUP, _inputs(config))
        handlers = {
            "send": sender.send,
            "transfer": instances.transfer,
            "poll": tail.poll,
            "end-offset": tail.end_offset,
            "final-read": reader.final_read,
            "committed": offsets.committed,
        }
        return LogClient(handlers, (sender, instances, tail, reader, offsets))

    def generator(self, test: Test) -> Generator:
        config = test.config
        who = roles(test.concurrency, config)
        feeding = Rate(Sends([str(p) for p in _inputs(config)]), test.rate * FEED_SHARE)
        transfers = Rate(Transfers(self._ownership, _hazards(config)), test.rate * TRANSFER_SHARE)
        polling = Rate(Polls(), test.rate * TAIL_SHARE)
        slots: dict[int, Generator] = {}
        slots.update(dict.fromkeys(who.feeders, feeding))
        slots.update(dict.fromkeys(who.pipelines, transfers))
        slots.update(dict.fromkeys(who.tails, polling))
        return BySlot(slots)

    def final_generator(self, test: Test) -> Generator:
        config = test.config
        limit_ms = float(config.get("final.timeout.ms", 120_000))
        inputs = [str(p) for p in _inputs(config)]
        drain = Drain(self._ownership, inputs, limit_ms=limit_ms * 0.4)
        everything = ReadBack(
            inputs + [str(p) for p in _outputs(config)],
            limit_ms=limit_ms * 0.5,
            stable_limit_ms=float(config.get("transaction.timeout.ms", 10_000)) + STABLE_SLACK_MS,
        )
        draining: dict[int, Generator] = dict.fromkeys(roles(test.concurrency, config).pipelines, drain)
        return Phases(BySlot(draining), everything, AskCommitted())


class _Instances:
    """The pipeline instance that a process runs; another claim means a new one."""

    def __init__(self, log: Log, test: Test, process: int) -> None:
        self._log = log
        self._config = test.config
        self._count = roles(test.concurrency, test.config).pipeline_count
        self._process = process
        self._claim: tuple[str, int] | None = None
        self._current: Pipeline | None = None

    async def transfer(self, op: Invocation) -> Completion:
        claim = (str(op.key), int(op.extra["claim"]))
        if self._current is None or claim != self._claim:
            await self.close()
            self._claim, self._current = claim, self._new(int(op.key), claim[1])
        return await self._current.transfer(op)

    def _new(self, pipeline: int, claim: int) -> Pipeline:
        config = self._config
        name = f"{GROUP}-{pipeline}"
        if config["eos.transactional.id"] == "instance":
            name = f"{name}-{self._process}-{claim}"
        mode = Mode(
            input=INPUT,
            output=OUTPUT,
            output_partitions=int(config["eos.partitions"]),
            group=GROUP,
            batch=int(config["eos.batch.records"]),
            transactional=config["eos.producer"] == "transactional",
            offsets_in_transaction=config["eos.offsets"] == "transaction",
            rewind=bool(config["eos.rewind"]),
        )
        own = [p for p in _inputs(config) if p.partition % self._count == pipeline]
        partitions = own if config["eos.assignment"] == "manual" else None
        return Pipeline(self._log, mode, transactional_id=name, partitions=partitions)

    async def close(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            await current.close()


def _hazards(config: Mapping[str, Any]) -> Hazards:
    timeout_ms = float(config.get("transaction.timeout.ms", 10_000))
    return Hazards(
        abort=float(config["eos.abort.probability"]),
        crash=float(config["eos.crash.probability"]),
        stall=float(config["eos.stall.probability"]),
        stall_ms=(0.2 * timeout_ms, 1.3 * timeout_ms),
    )


def _inputs(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(INPUT, int(config["eos.partitions"]))


def _outputs(config: Mapping[str, Any]) -> list[TopicPartition]:
    return partitions_of(OUTPUT, int(config["eos.partitions"]))
