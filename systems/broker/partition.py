"""One replica of a partition: its log, its high watermark, and the role it plays in the present epoch."""

from __future__ import annotations

import re
from typing import Final, Protocol

from harness.node import NodeEnvironment
from systems.broker.controller.events import broker_name
from systems.broker.follower import Follower
from systems.broker.in_sync import InSync
from systems.broker.leader import Leader
from systems.broker.log.cleaner import Cleaner
from systems.broker.log.log import Log
from systems.broker.metadata import BrokerState, PartitionState
from systems.broker.topic_config import TopicConfig
from systems.broker.waiting import OffsetWaiters, Watchers

_PARTITION_FOLDER: Final = re.compile(r"[a-zA-Z0-9._-]+-[0-9]+\.[0-9a-f]{32}")


class Surroundings(Protocol):
    """What a partition needs of its broker."""

    @property
    def env(self) -> NodeEnvironment: ...

    def registration(self, broker_id: int) -> BrokerState | None:
        """What this broker's metadata knows of another one."""
        ...

    def propose_isr(self, leader: InSync) -> None:
        """Takes the leader's pending ISR to the controller."""
        ...


def partition_folder(topic: str, index: int, topic_id: bytes) -> str:
    """Of its log. The topic's id is in it: a topic that has the name of a deleted one shares nothing with it."""
    return f"{topic}-{index}.{topic_id.hex()}"


def is_partition_folder(folder: str) -> bool:
    return _PARTITION_FOLDER.fullmatch(folder) is not None


class Partition:
    """The owner of the replica's mutable state. Roles come and go with leader epochs; the log stays."""

    def __init__(
        self,
        surroundings: Surroundings,
        topic: str,
        topic_id: bytes,
        index: int,
        config: TopicConfig,
        *,
        checkpointed_high_watermark: int = 0,
    ) -> None:
        self.surroundings = surroundings
        self.env = surroundings.env
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.name = f"{topic}/{index}"
        self.config = config
        self.log = Log(
            self.env.disk,
            partition_folder(topic, index, topic_id),
            segment_bytes=config.segment_bytes,
            flush_every_append=config.flush_every_append,
            sent_from_file_bytes=self.env.config.get("fetch.sendfile.min.bytes"),
            bugs=self.env.bugs,
        )
        self._cleaner = Cleaner(self.env.disk, self.log, config.segment_bytes, self.env.bugs)
        self.high_watermark = min(
            max(checkpointed_high_watermark, self.log.start_offset), self.log.end_offset
        )
        self.leader_epoch = -1
        self.partition_epoch = -1
        self.leader_id = -1
        self.leader: Leader | None = None
        self.follower: Follower | None = None
        self.waiting_for_offsets: OffsetWaiters | None = None
        """Of a former leader here, with bug stale-group-coordinator-acks."""
        self.appended = Watchers()
        """Woken by every append and every change of role: what followers wait for."""
        self.visible = Watchers()
        """Woken when the high watermark moves and on a change of role: what consumers wait for."""

    def apply(self, state: PartitionState) -> bool:
        """The controller's word. True where this replica's role changed: with every new leader epoch, even
        if the leader is the same (rules 2 and 3)."""
        if state.leader_epoch > self.leader_epoch:
            self._enter_epoch(state)
            return True
        if state.leader_epoch == self.leader_epoch and state.partition_epoch > self.partition_epoch:
            self.partition_epoch = state.partition_epoch
            if self.leader is not None:
                self.leader.on_partition_state(state)
        return False

    def configure(self, config: TopicConfig) -> None:
        """The topic's keys have changed."""
        self.config = config
        self.log.configure(segment_bytes=config.segment_bytes, flush_every_append=config.flush_every_append)
        self._cleaner = Cleaner(self.env.disk, self.log, config.segment_bytes, self.env.bugs)

    def delete(self) -> None:
        """The topic is no more."""
        self._leave_role()
        self.log.delete()
        self.env.emit("partition-deleted", partition=self.name, end=self.log.end_offset)

    def stop(self) -> None:
        """This broker holds the partition no longer (or stops)."""
        self._leave_role()

    def advance_log_start(self, offset: int, reason: str) -> None:
        """What lies below is gone for readers, and for followers as they hear of it; never beyond the high
        watermark."""
        before = self.log.start_offset
        if not self.log.advance_start(min(offset, self.high_watermark)):
            return
        self.env.emit(
            "log-start-advanced",
            partition=self.name,
            start=self.log.start_offset,
            was=before,
            end=self.log.end_offset,
            leader_epoch=self.leader_epoch,
            reason=reason,
        )
        self.appended.stir()

    async def keep_retention(self, now_ms: int) -> None:
        """Semantics 2.6: removes what is beyond retention or below the log's start; rolls what is old."""
        log, config = self.log, self.config
        log.roll_if_older(config.roll_ms, now_ms)
        if config.deletes and not config.retention.unlimited:
            bound = log.producers.last_stable_offset(self.high_watermark)
            beyond = log.beyond_retention(config.retention, now_ms, bound)
            if beyond is not None:
                self.advance_log_start(beyond.start_offset, beyond.reason)
        removed = await log.remove_old_segments()
        if removed:
            self.env.emit("segment-deleted", partition=self.name, segments=removed, start=log.start_offset)

    async def compact(self, now_ms: int) -> None:
        """Semantics 2.6: a pass of the cleaner, where it is worth one."""
        if not self.config.compacts:
            return
        limits = self.config.compaction
        segments = self._cleaner.cleanable(limits, now_ms, self.high_watermark)
        done = await self._cleaner.run(segments, limits, now_ms) if segments else None
        if done is not None:
            self.env.emit(
                "log-compacted",
                partition=self.name,
                until=done.clean_until,
                removed=done.removed,
                bytes_before=done.bytes_before,
                bytes_after=done.bytes_after,
            )

    def begin_at(self, offset: int) -> None:
        """Everything here lies below the leader's log start: this replica begins there, empty."""
        before = self.log.start_offset
        self.log.begin_at(offset)
        self.high_watermark = offset
        self.env.emit(
            "log-start-advanced",
            partition=self.name,
            start=offset,
            was=before,
            end=offset,
            leader_epoch=self.leader_epoch,
            reason="leader",
        )

    def _enter_epoch(self, state: PartitionState) -> None:
        self._leave_role()
        self.leader_epoch = state.leader_epoch
        self.partition_epoch = state.partition_epoch
        self.leader_id = state.leader
        if state.leader == self.env.id:
            self.leader = Leader(self, state)
        elif state.leader >= 0:
            self.follower = Follower(self, state)

    def _leave_role(self) -> None:
        if self.leader is not None:
            self.leader.resign()
        if self.follower is not None:
            self.follower.stop()
        self.leader = self.follower = None
        self.appended.notify()
        self.visible.notify()

    def truncate(self, end_offset: int, reason: str) -> None:
        """Cuts the log; producer state, transaction index and high watermark go back with it (rule 4)."""
        before = self.log.end_offset
        end = self.log.truncate(end_offset)
        if end == before:
            return
        self.high_watermark = max(min(self.high_watermark, end), self.log.start_offset)
        self.env.emit(
            "truncated",
            partition=self.name,
            end=end,
            was=before,
            leader_epoch=self.leader_epoch,
            leader=broker_name(self.env, self.leader_id),
            reason=reason,
        )
