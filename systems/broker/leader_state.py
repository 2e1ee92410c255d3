"""What a partition's leader knows in its epoch, and what others may ask of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.controller.events import broker_name
from systems.broker.isr import FollowerProgress, Isr
from systems.broker.metadata import PartitionState
from systems.broker.verifying import Verifications
from systems.broker.waiting import OffsetWaiters

if TYPE_CHECKING:
    from systems.broker.partition import Partition


class LeaderState:
    """Shared by all that a leader does: `InSync`, `Producing`, `Fetching`, and `Leader` itself."""

    def __init__(self, partition: Partition, state: PartitionState) -> None:
        self._partition = partition
        self._log = partition.log
        self._env = partition.env
        self._bugs = partition.env.bugs
        self.active = True
        self.leader_epoch = state.leader_epoch
        self.epoch_start = partition.log.end_offset
        partition.log.epochs.assign(state.leader_epoch, self.epoch_start)
        if "dedupe-state-not-replicated" in self._bugs:
            partition.log.producers.forget_sequences()
        self.replicas = state.replicas
        self.isr = Isr(tuple(sorted(state.isr)), state.partition_epoch)
        started = self._now()
        self.followers = {
            replica: FollowerProgress(last_caught_up=started)
            for replica in state.replicas
            if replica != self._env.id
        }
        self._replicated = OffsetWaiters()
        self._begun = OffsetWaiters()
        """DeleteRecords that wait for the low watermark."""
        self.verifying = Verifications()

    @property
    def topic(self) -> str:
        return self._partition.topic

    @property
    def topic_id(self) -> bytes:
        return self._partition.topic_id

    @property
    def partition(self) -> Partition:
        return self._partition

    @property
    def index(self) -> int:
        return self._partition.index

    @property
    def name(self) -> str:
        return self._partition.name

    @property
    def high_watermark(self) -> int:
        self.check_active()
        return self._partition.high_watermark

    @property
    def last_stable_offset(self) -> int:
        self.check_active()
        return self._log.producers.last_stable_offset(self._partition.high_watermark)

    @property
    def log_start_offset(self) -> int:
        self.check_active()
        return self._log.start_offset

    @property
    def log_end_offset(self) -> int:
        self.check_active()
        return self._log.end_offset

    @property
    def min_isr(self) -> int:
        return min(self._partition.config.min_insync_replicas, len(self.replicas))

    def check_active(self, leader_epoch: int | None = None) -> None:
        """Raises `NOT_LEADER_OR_FOLLOWER` once this epoch is over, or where it is not the expected one."""
        if not self.active or (leader_epoch is not None and leader_epoch != self.leader_epoch):
            raise KafkaError(ErrorCode.not_leader_or_follower, f"{self.name} epoch {self.leader_epoch}")

    def _names(self, brokers: tuple[int, ...]) -> list[str]:
        return [broker_name(self._env, b) for b in brokers]

    def _late(self, what: str) -> None:
        """Something that was sent in an earlier epoch arrived only now, and was refused."""
        self._env.emit("late-request", partition=self.name, what=what)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wall_ms(self) -> int:
        return self._env.wall_clock.time_ns() // 1_000_000
