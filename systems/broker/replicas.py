"""All partitions of which this broker holds a replica, kept in step with the cluster's metadata."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from kio.schema.errors import ErrorCode

from harness.node import NodeEnvironment
from systems.broker.alter_partition import IsrProposals
from systems.broker.context import Broker, KafkaError, LeaderPartition
from systems.broker.in_sync import InSync
from systems.broker.leader import Leader
from systems.broker.log.batch import CorruptBatch
from systems.broker.log.compression import BadCompression
from systems.broker.log.records import BadRecords
from systems.broker.metadata import BrokerState, MetadataImage
from systems.broker.partition import Partition, is_partition_folder, partition_folder
from systems.broker.replica_fetcher import ReplicaFetchers
from systems.broker.topic_config import topic_config

log = logging.getLogger(__name__)

CHECKPOINT = "high-watermarks.json"
CHECKPOINT_INTERVAL_S = 5.0

Gained = Callable[[LeaderPartition], None]
Lost = Callable[[int], None]


class ReplicaManager:
    """Implements `context.Replicas`. Partitions are made as the metadata names them, and change roles as it
    says."""

    def __init__(self, broker: Broker, fetchers: ReplicaFetchers, proposals: IsrProposals) -> None:
        self._broker = broker
        self._fetchers = fetchers
        self._proposals = proposals
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._topic_names: dict[bytes, str] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._listeners: list[tuple[str, Gained, Lost]] = []
        self._checkpoint = self._read_checkpoint()
        self.caught_up = asyncio.Event()
        """Set once the metadata is known in which this incarnation is registered."""
        self._lag_time = int(broker.env.config.get("replica.lag.time.max.ms", 2000)) / 1000

    # ── partitions' surroundings ─────────────────────────────────────────────────────────────────────

    @property
    def env(self) -> NodeEnvironment:
        return self._broker.env

    def registration(self, broker_id: int) -> BrokerState | None:
        return self._broker.image.brokers.get(broker_id)

    def propose_isr(self, leader: InSync) -> None:
        self._proposals.propose(leader)

    # ── looking up ───────────────────────────────────────────────────────────────────────────────────

    def leader_of(self, topic: str, index: int) -> Leader:
        partition = self._partitions.get((topic, index))
        if partition is not None and partition.leader is not None:
            return partition.leader
        if partition is None and self._broker.image.partition(topic, index) is None:
            raise KafkaError(ErrorCode.unknown_topic_or_partition, f"{topic}/{index}")
        raise KafkaError(ErrorCode.not_leader_or_follower, f"{topic}/{index} is not led by {self.env.name}")

    def hosted(self, topic: str, index: int) -> Partition:
        """This broker's replica, whether it leads or follows."""
        partition = self._partitions.get((topic, index))
        if partition is not None:
            return partition
        if self._broker.image.partition(topic, index) is None:
            raise KafkaError(ErrorCode.unknown_topic_or_partition, f"{topic}/{index}")
        raise KafkaError(ErrorCode.not_leader_or_follower, f"{topic}/{index} is not on {self.env.name}")

    def topic_name(self, topic_id: bytes) -> str | None:
        return self._topic_names.get(topic_id)

    def partitions(self) -> list[Partition]:
        return list(self._partitions.values())

    def on_leadership(self, topic: str, gained: Gained, lost: Lost) -> None:
        self._listeners.append((topic, gained, lost))
        for partition in self._partitions.values():
            if partition.topic == topic and partition.leader is not None:
                gained(partition.leader)

    # ── following the metadata ───────────────────────────────────────────────────────────────────────

    def apply(self, image: MetadataImage) -> None:
        """Brings every replica to the state of `image`.

        Nothing is applied before the image knows *this* incarnation: what the controller decided for an
        earlier one (that it leads, that it is in sync) is not true of a broker that has restarted since.
        """
        me = image.brokers.get(self.env.id)
        if me is None or me.epoch != self._broker.epoch:
            return
        if not self.caught_up.is_set():
            self.caught_up.set()
            self._remove_strays(image)
        self._remove_deleted(image)
        for name, topic in image.topics.items():
            self._topic_names[topic.id] = name
            for index, state in enumerate(topic.partitions):
                if self.env.id not in state.replicas:
                    continue
                partition = self._partitions.get((name, index))
                if partition is None:
                    partition = self._partitions[name, index] = Partition(
                        self,
                        name,
                        topic.id,
                        index,
                        topic_config(topic.config, self.env.config),
                        checkpointed_high_watermark=self._checkpoint.get(f"{name}/{index}", 0),
                    )
                elif topic.config != self._configs.get(name):
                    partition.configure(topic_config(topic.config, self.env.config))
                led_before = partition.leader is not None
                if partition.apply(state):
                    self._on_role(partition, led_before)
            self._configs[name] = topic.config

    def _remove_deleted(self, image: MetadataImage) -> None:
        """What was deleted goes from the disk too; a topic of the same name is another one."""
        for key, partition in list(self._partitions.items()):
            topic = image.topics.get(partition.topic)
            if topic is not None and topic.id == partition.topic_id:
                continue
            self._fetchers.unfollow(partition.name)
            for listened, _, lost in self._listeners:
                if listened == partition.topic and partition.leader is not None:
                    lost(partition.index)
            del self._partitions[key]
            self._topic_names.pop(partition.topic_id, None)
            self._checkpoint.pop(partition.name, None)
            partition.delete()

    def _remove_strays(self, image: MetadataImage) -> None:
        """What was deleted while this broker was down."""
        known = {
            partition_folder(name, index, topic.id)
            for name, topic in image.topics.items()
            for index in range(len(topic.partitions))
        }
        for file in self.env.disk.list():
            folder, separator, _ = file.rpartition("/")
            if separator and folder not in known and is_partition_folder(folder):
                self.env.disk.remove(file)

    def _on_role(self, partition: Partition, led_before: bool) -> None:
        self._fetchers.unfollow(partition.name)
        if partition.follower is not None:
            self._fetchers.follow(partition.follower)
        for topic, gained, lost in self._listeners:
            if topic != partition.topic:
                continue
            if led_before:
                lost(partition.index)
            if partition.leader is not None:
                gained(partition.leader)

    # ── housekeeping ─────────────────────────────────────────────────────────────────────────────────

    async def watch_isr(self) -> None:
        """Rule 7: looks for lagging followers every half lag time."""
        while True:
            await asyncio.sleep(self._lag_time / 2)
            for partition in self._partitions.values():
                if partition.leader is not None:
                    partition.leader.maybe_shrink_isr(self._lag_time)

    async def keep_retention(self) -> None:
        """Looks for what is beyond retention, on leaders and followers alike, and forgets silent producers."""
        config = self.env.config
        interval = int(config.get("log.retention.check.interval.ms", 1000)) / 1000
        expiration_ms = int(config.get("producer.id.expiration.ms", 86_400_000))
        while True:
            await asyncio.sleep(interval)
            for partition in self.partitions():
                now_ms = self.env.wall_clock.time_ns() // 1_000_000
                try:
                    await partition.keep_retention(now_ms)
                except OSError as error:
                    log.warning("%s: retention: %s", partition.name, error)
                partition.log.producers.expire(now_ms - expiration_ms)

    async def keep_compacted(self) -> None:
        """Looks for logs that are worth a pass of the cleaner, on leaders and followers alike."""
        interval = int(self.env.config.get("log.cleaner.backoff.ms", 1000)) / 1000
        while True:
            await asyncio.sleep(interval)
            for partition in self.partitions():
                try:
                    await partition.compact(self.env.wall_clock.time_ns() // 1_000_000)
                except (OSError, CorruptBatch, BadRecords, BadCompression) as error:
                    # As in Kafka: a log that cannot be compacted grows, and the others go on.
                    self.env.emit("compaction-failed", partition=partition.name, error=str(error))

    async def checkpoint_high_watermarks(self) -> None:
        """Lazily, as in Kafka: a restarted replica begins with a stale-low high watermark."""
        while True:
            await asyncio.sleep(CHECKPOINT_INTERVAL_S)
            self.write_checkpoint()

    def write_checkpoint(self) -> None:
        now = {p.name: p.high_watermark for p in self._partitions.values()}
        if now != self._checkpoint:
            disk = self.env.disk
            try:
                disk.write(CHECKPOINT + ".new", msgspec.json.encode(now))
                disk.rename(CHECKPOINT + ".new", CHECKPOINT)
            except OSError:
                return
            self._checkpoint = now

    def _read_checkpoint(self) -> dict[str, int]:
        if not self.env.disk.exists(CHECKPOINT):
            return {}
        try:
            return msgspec.json.decode(self.env.disk.read(CHECKPOINT), type=dict[str, int])
        except msgspec.DecodeError:
            # Lost with the power. A low watermark is always safe.
            return {}

    async def flush(self) -> None:
        """For an orderly stop: everything is on disk."""
        for partition in self._partitions.values():
            await partition.log.flush()

    def stop(self) -> None:
        for partition in self._partitions.values():
            partition.stop()
