"""Three replicas of one partition and a controller, without network or time: every message is an action
that a random schedule delivers late, out of order, or never.

The replicas are the real ones (`Partition`, `Leader`, `Follower` on a `Log`), the controller's decisions are
the real functions (`controller.elections`, `alter_partition.validate`); only what carries their messages is
a list.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.controller.alter_partition import validate
from systems.broker.controller.elections import Rules, change_partition, drop_unclean, fence, unfence
from systems.broker.controller.recovery import Recovery
from systems.broker.in_sync import InSync
from systems.broker.isr import Isr
from systems.broker.leader import Leader
from systems.broker.log.batch import split
from systems.broker.log_reports import wanted_logs
from systems.broker.metadata import (
    BrokerState,
    MetadataImage,
    PartitionChange,
    PartitionState,
    Record,
    RegisterBroker,
    TopicState,
    apply,
)
from systems.broker.partition import Partition
from systems.broker.replica_logs import ReplicaLogs
from systems.broker.topic_config import TopicConfig
from tests.systems.broker.batches import batch
from tests.systems.broker.memory_environment import MemoryEnvironment

MIN_ISR = 2
CONFIG = TopicConfig(
    min_insync_replicas=MIN_ISR,
    segment_bytes=1000,
    flush_messages=1 << 62,
    max_message_bytes=1000,
    log_append_time=False,
)
TOPIC, TOPIC_ID = "t", b"t" * 16


_MIX = {
    "produce": 10.0,
    "fetch": 22.0,
    "deliver": 44.0,
    "drop": 1.0,
    "take_image": 12.0,
    "shrink": 1.0,
    "consume": 2.0,
    "fence": 1.0,
    "unfence": 6.0,
    "restart": 0.3,
    "report": 3.0,
}
_ACTIONS, _WEIGHTS = list(_MIX), list(_MIX.values())


class Violation(AssertionError):
    """A promise of semantics 2.1 was broken."""


class Node:
    """A broker process: what it knows of the metadata, and its replica (None before the first image)."""

    def __init__(self, world: World, broker_id: int) -> None:
        self.world = world
        self.id = broker_id
        self.env = MemoryEnvironment(f"b{broker_id}", bugs=world.bugs)
        self.image = MetadataImage()
        self.epoch = -1
        self.partition: Partition | None = None
        self.alive = False
        self.life = 0
        self.seen = -1
        self.fetching = False

    def registration(self, broker_id: int) -> BrokerState | None:
        return self.image.brokers.get(broker_id)

    def propose_isr(self, leader: InSync) -> None:
        self.world.on_proposal(self, leader, leader.isr)

    @property
    def leader(self) -> Leader | None:
        return self.partition.leader if self.alive and self.partition is not None else None

    def boot(self) -> None:
        self.alive = True
        self.life += 1
        self.partition = None
        self.fetching = False
        self.epoch = self.world.register(self.id)
        self.take_image(newest=True)

    def take_image(self, *, newest: bool = False) -> None:
        """The next committed change, in order; as `ReplicaManager.apply` nothing before the image knows
        this incarnation."""
        history = self.world.history
        self.seen = len(history) - 1 if newest else min(self.seen + 1, len(history) - 1)
        self.image = history[self.seen]
        me = self.image.brokers.get(self.id)
        if not self.alive or me is None or me.epoch != self.epoch or TOPIC not in self.image.topics:
            return
        if self.partition is None:
            self.partition = Partition(self, TOPIC, TOPIC_ID, 0, CONFIG)
        self.partition.apply(self.image.topics[TOPIC].partitions[0])

    def crash(self) -> None:
        self.alive = False
        if self.partition is not None:
            self.partition.stop()
        self.partition = None

    def lose_power(self, rng: random.Random) -> None:
        """An unsynced suffix of the log goes, torn anywhere."""
        self.crash()
        disk = self.env.disk
        for name in disk.list("t-0."):
            if name.endswith(".log"):
                size = disk.size(name)
                disk.truncate(name, rng.randint(0, size))


class ControllerLog:
    """As `controller.recovery` sees the metadata log: what is appended is committed at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.env = MemoryEnvironment("c1")

    @property
    def pending(self) -> MetadataImage:
        return self._world.image

    def require_active(self) -> None: ...

    def append(self, records: list[Record]) -> asyncio.Future[int]:
        self._world.commit(records)
        return asyncio.get_running_loop().create_future()


class World:
    def __init__(self, seed: int, bugs: frozenset[str] = frozenset(), *, power_loss: bool = False) -> None:
        self.rng = random.Random(seed)
        self.bugs = bugs
        self.rules = Rules({"min.insync.replicas": MIN_ISR}, bugs)
        self.recovery = Recovery(ControllerLog(self), self.rules)  # type: ignore[arg-type]
        self.offset = 0
        self.image = MetadataImage(features={"eligible.leader.replicas.version": 1})
        self.history: list[MetadataImage] = []
        self.messages: list[Callable[[], None]] = []
        self.nodes = [Node(self, i) for i in (1, 2, 3)]
        self.sent = 0
        self.waiting: list[tuple[Leader, int, bytes]] = []
        self.acked: dict[int, bytes] = {}
        self.weights = [weight * self.rng.choice((0.2, 1, 1, 4)) for weight in _WEIGHTS]
        self.power_loss = power_loss
        self.lossy = False
        for node in self.nodes:
            node.boot()
        for node in self.nodes:
            self.commit(unfence(self.image, self.rules, node.id))
        state = PartitionState((1, 2, 3), 1, 0, 0, (1, 2, 3))
        self.offset += 1
        self.image = MetadataImage(
            offset=self.offset,
            brokers=self.image.brokers,
            features=self.image.features,
            topics={TOPIC: TopicState(TOPIC, TOPIC_ID, (state,))},
        )
        self.history.append(self.image)
        for node in self.nodes:
            node.take_image(newest=True)

    # controller

    def commit(self, records: list[Record]) -> None:
        self.offset += 1
        for record in records:
            self.image = apply(self.image, record, self.offset)
        self.history.append(self.image)

    def register(self, broker_id: int) -> int:
        if broker_id in self.image.brokers and not self.image.brokers[broker_id].fenced:
            self.commit(fence(self.image, self.rules, broker_id))
        if broker_id in self.image.brokers:
            self.commit(drop_unclean(self.image, self.rules, broker_id))
        self.commit(
            [RegisterBroker(broker_id, f"b{broker_id}", "h", 1, bytes([broker_id]), clean=False, fenced=True)]
        )
        return self.offset

    def on_proposal(self, node: Node, leader: Leader, isr: Isr) -> None:
        self.messages.append(lambda: self._alter(node, leader, isr))

    def _alter(self, node: Node, leader: Leader, isr: Isr) -> None:
        state = self.image.topics[TOPIC].partitions[0]
        members = isr.pending or ()
        request = SimpleNamespace(leader_epoch=leader.leader_epoch, partition_epoch=isr.partition_epoch)
        epochs = dict(leader.broker_epochs(members, node.epoch))
        try:
            validate(self.image, self.rules, state, node.id, request, epochs)
        except KafkaError as error:
            if error.code is ErrorCode.ineligible_replica:
                self.messages.append(lambda: leader.on_isr_withdrawn(isr))
            return
        ordered = tuple(b for b in state.replicas if b in members)
        change = change_partition(self.image, self.rules, self.image.topics[TOPIC], 0, isr=ordered)
        if change is not None:
            self.commit([change])
            new: PartitionChange = change
            self.messages.append(lambda: leader.on_isr_confirmed(new.state.isr, new.state.partition_epoch))
        if self.rng.random() < 0.5:
            # The leader repeats what it has no answer for.
            self.messages.append(lambda: self._again(node, leader, isr))

    def _again(self, node: Node, leader: Leader, isr: Isr) -> None:
        if leader.active and leader.isr == isr:
            self.on_proposal(node, leader, isr)

    # replicas

    def produce(self, node: Node) -> None:
        leader = node.leader
        if leader is None:
            return
        self.sent += 1
        value = b"v%d" % self.sent
        try:
            appended = leader.append_now(batch(value=value), acks=-1)
        except KafkaError:
            return
        self.waiting.append((leader, appended.last_offset, value))

    def fetch(self, node: Node) -> None:
        follower = node.partition.follower if node.alive and node.partition is not None else None
        if follower is None or (node.fetching and self.rng.random() < 0.8):
            return
        node.fetching = True
        asked, life, epoch = follower.position, node.life, node.epoch
        leader_node = self.nodes[follower.leader_id - 1]

        def arrive() -> None:
            leader = leader_node.leader
            if leader is None:
                node.fetching = False
                return
            try:
                leader.check_epoch(asked.leader_epoch)
                fetched = leader.fetch_for_follower(
                    node.id, epoch, asked.fetch_offset, asked.last_fetched_epoch, 300
                )
            except KafkaError as error:
                node.fetching = False
                if error.code is ErrorCode.offset_out_of_range:
                    end = leader.log_end_offset
                    self.messages.append(
                        lambda: follower.on_out_of_range(asked, end) if node.life == life else None
                    )
                return

            def answer() -> None:
                node.fetching = False
                if node.life != life or not node.alive:
                    return
                if fetched.diverging is not None:
                    follower.on_divergence(asked, fetched.diverging)
                else:
                    follower.on_records(asked, fetched.records, fetched.high_watermark)

            self.messages.append(answer)

        self.messages.append(arrive)

    def consume(self, node: Node) -> None:
        """What a consumer sees counts as acknowledged: it must never vanish."""
        leader = node.leader
        if leader is None:
            return
        fetched = leader.fetch_for_consumer(0, -1, 1 << 20, read_committed=False)
        for header, data in split(fetched.records):
            self._seen(header.base_offset, _value(data), "read")

    def _seen(self, offset: int, value: bytes, how: str) -> None:
        before = self.acked.setdefault(offset, value)
        if before != value:
            raise Violation(f"offset {offset}: {before!r} was visible, now {value!r} is {how}")

    # schedule

    def step(self) -> None:
        """One action, drawn by this run's own weights: swarms find what an even mix does not."""
        action = self.rng.choices(_ACTIONS, self.weights)[0]
        getattr(self, action)(self.rng.choice(self.nodes))
        self._acknowledge()

    def deliver(self, node: Node) -> None:
        if self.messages:
            self.messages.pop(self.rng.randrange(min(len(self.messages), 3)))()

    def drop(self, node: Node) -> None:
        if self.messages:
            self.messages.pop(self.rng.randrange(len(self.messages)))

    def take_image(self, node: Node) -> None:
        node.take_image()

    def shrink(self, node: Node) -> None:
        if node.leader is not None:
            node.leader.maybe_shrink_isr(-1.0)

    def fence(self, node: Node) -> None:
        """Its heartbeats do not get through; the process runs on."""
        if not self.image.brokers[node.id].fenced:
            self.commit(fence(self.image, self.rules, node.id))

    def report(self, node: Node) -> None:
        """What a broker does while a partition of its own waits for recovery."""
        if node.alive and node.partition is not None:
            logs = wanted_logs(node.image, node.id, [node.partition])
            if logs:
                report = ReplicaLogs(node.id, node.epoch, logs)
                self.messages.append(lambda: self._on_report(report))

    def _on_report(self, report: ReplicaLogs) -> None:
        self.recovery.on_replica_logs(report)

    def unfence(self, node: Node) -> None:
        if node.alive and self.image.brokers[node.id].epoch == node.epoch:
            self.commit(unfence(self.image, self.rules, node.id))

    def restart(self, node: Node) -> None:
        self._restart(node)

    def _restart(self, node: Node) -> None:
        if not node.alive:
            node.boot()
            return
        whole = all(n.alive for n in self.nodes) and len(self.image.topics[TOPIC].partitions[0].isr) == 3
        if whole:
            self.lossy = False
        if self.power_loss and not self.lossy and whole:
            # One at a time (rule 10: at most min.isr - 1), until all are in sync again.
            self.lossy = True
            node.lose_power(self.rng)
        else:
            node.crash()

    def _acknowledge(self) -> None:
        still = []
        for leader, offset, value in self.waiting:
            if not leader.active:
                continue
            if leader.high_watermark > offset and len(leader.isr.committed) >= MIN_ISR:
                self._seen(offset, value, "acknowledged")
            else:
                still.append((leader, offset, value))
        self.waiting = still

    # the end

    def settle(self) -> None:
        """Heals: everybody runs, everything is delivered, until all replicas are in sync."""
        for _ in range(60):
            for node in self.nodes:
                if not node.alive:
                    node.boot()
                if self.image.brokers[node.id].fenced:
                    self.commit(unfence(self.image, self.rules, node.id))
                node.take_image(newest=True)
                node.fetching = False
                self.fetch(node)
                self.report(node)
                leader = node.leader
                if leader is not None and leader.isr.pending is not None:
                    self.on_proposal(node, leader, leader.isr)
            while self.messages:
                self.messages.pop(0)()
                self._acknowledge()
        state = self.image.topics[TOPIC].partitions[0]
        if state.leader < 0 or len(state.isr) < 3:
            raise Violation(f"not whole after the heal: {state}")
        logs = [self.content(node) for node in self.nodes]
        if not logs[0] == logs[1] == logs[2]:
            raise Violation(f"replicas differ: {logs}")
        final = logs[0]
        for offset, value in sorted(self.acked.items()):
            if final.get(offset) != value:
                raise Violation(f"offset {offset}: {value!r} is lost, there is {final.get(offset)!r}")

    def content(self, node: Node) -> dict[int, bytes]:
        assert node.partition is not None
        log = node.partition.log
        return {h.base_offset: _value(data) for h, data in log.batches(0, log.end_offset)}


def _value(data: bytes) -> bytes:
    """The one record's value: what follows header, length, attributes, deltas, null key and its length."""
    return data[61 + 6 : -1]


def run(
    seed: int, bugs: frozenset[str] = frozenset(), *, steps: int = 600, power_loss: bool = False
) -> World:
    """Raises `Violation`."""
    world = World(seed, bugs, power_loss=power_loss)
    for _ in range(steps):
        world.step()
    world.settle()
    return world
