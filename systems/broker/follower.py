"""A partition's follower in one leader epoch (semantics 2.1 rules 3 and 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from systems.broker.controller.events import broker_name
from systems.broker.log.batch import CorruptBatch, split
from systems.broker.log.leader_epochs import EpochEnd, truncation_offset
from systems.broker.metadata import PartitionState

if TYPE_CHECKING:
    from systems.broker.partition import Partition


class FetchPosition(NamedTuple):
    """What a follower asks for; its answer is only good for exactly this (rule 4)."""

    leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int


class Follower:
    """Rule 3: entered on every epoch change, even with the same leader. Nothing is cut for the high
    watermark's sake: the first fetch finds out from where on the logs differ."""

    def __init__(self, partition: Partition, state: PartitionState) -> None:
        self.partition = partition
        self.leader_id = state.leader
        self.leader_epoch = state.leader_epoch
        self.active = True
        self.not_before = 0.0
        """Loop time before which the fetcher leaves this partition out (after an error)."""
        self._log = partition.log
        self._before_kip101 = "truncate-to-hw" in partition.env.bugs
        self._believes_all = "stale-fetch-response-applied" in partition.env.bugs
        partition.env.emit(
            "follower",
            partition=partition.name,
            leader_epoch=self.leader_epoch,
            leader=broker_name(partition.env, self.leader_id),
        )
        if self._before_kip101:
            partition.truncate(partition.high_watermark, "high watermark")

    @property
    def position(self) -> FetchPosition:
        last = -1 if self._before_kip101 else self._log.epochs.latest
        return FetchPosition(self.leader_epoch, self._log.end_offset, last)

    def is_at(self, asked: FetchPosition) -> bool:
        """Whether an answer to `asked` is still one to us: neither the epoch nor the log has moved on."""
        return (
            asked.fetch_offset == self._log.end_offset
            and asked.leader_epoch == self.leader_epoch
            and asked.last_fetched_epoch == (-1 if self._before_kip101 else self._log.epochs.latest)
        )

    def on_records(
        self, asked: FetchPosition, records: bytes, leader_high_watermark: int, leader_log_start: int = -1
    ) -> bool:
        """Appends what the leader sent and follows its high watermark: HW = min(leader's, own end), and its
        log start.

        False where the answer is not to what we would ask now: the epoch or the log has moved on.
        Raises `CorruptBatch`.
        """
        if not self._believes_all and (not self.active or not self.is_at(asked)):
            return False
        for header, batch in split(records):
            end = self._log.end_offset
            if self._believes_all and header.last_offset < end:
                # The mistake: what lies below our end we have, the rest is what comes next, whoever sent it when.
                continue
            if header.base_offset < end <= header.last_offset and self._log.start_offset == end:
                # The leader's log begins within this batch, and we hold nothing yet.
                self._log.begin_at(header.base_offset)
            elif header.base_offset < end or (
                header.base_offset > end and not self.partition.config.compacts
            ):
                raise CorruptBatch(0, f"batch at {header.base_offset}, expected {end}")
            self._log.append(header, batch)
        high_watermark = min(leader_high_watermark, self._log.end_offset)
        if high_watermark > self.partition.high_watermark:
            self.partition.high_watermark = high_watermark
            if self.partition.waiting_for_offsets is not None:
                self.partition.waiting_for_offsets.reached(high_watermark)
        if leader_log_start > self._log.start_offset:
            self.partition.advance_log_start(leader_log_start, "leader")
        return True

    def on_divergence(self, asked: FetchPosition, leader: EpochEnd) -> bool:
        """Rule 4: cut to min(leader's end, own end) of that epoch; the next fetch asks again."""
        if not self.active or not self.is_at(asked):
            return False
        self.partition.truncate(
            truncation_offset(self._log.epochs, self._log.end_offset, leader), "divergence"
        )
        return True

    def on_out_of_range(self, asked: FetchPosition, leader_end_offset: int) -> None:
        """The leader's log ends before ours and it could not say where they part (it knows no epochs)."""
        if self.active and self.is_at(asked):
            self.partition.truncate(leader_end_offset, "out of range")

    def on_later_start(self, asked: FetchPosition, leader_log_start: int) -> None:
        """The leader has nothing as old as what we would need next."""
        if self.active and self.is_at(asked) and leader_log_start > asked.fetch_offset:
            self.partition.begin_at(leader_log_start)

    def stop(self) -> None:
        self.active = False
