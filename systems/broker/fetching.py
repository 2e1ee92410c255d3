"""What a leader answers to a reader: replicas and consumers, divergence, what is visible (semantics 2.1 rules
4 and 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.in_sync import InSync
from systems.broker.isr import FollowerProgress
from systems.broker.log.leader_epochs import UNKNOWN_EPOCH, EpochEnd
from systems.broker.log.stored import Records
from systems.broker.producer_state import AbortedTransaction


class Fetched(NamedTuple):
    """What a fetch got. `diverging` is set instead of data where the fetcher's log is not a prefix of ours."""

    records: Records
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    diverging: EpochEnd | None = None
    aborted: list[AbortedTransaction] | None = None


class Fetching(InSync):
    """Rule 4: fetch."""

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Rule 4: whoever asks in another epoch than ours is told so (-1: an old client that cannot say)."""
        self.check_active()
        if current_leader_epoch < 0 or "fetch-not-epoch-fenced" in self._bugs:
            return
        if current_leader_epoch < self.leader_epoch:
            self._late("fetch of an older leader epoch")
            raise KafkaError(
                ErrorCode.fenced_leader_epoch, f"{current_leader_epoch} is over, now {self.leader_epoch}"
            )
        if current_leader_epoch > self.leader_epoch:
            raise KafkaError(
                ErrorCode.unknown_leader_epoch, f"{current_leader_epoch} not known, now {self.leader_epoch}"
            )

    def compared_epoch(self, current_leader_epoch: int, last_fetched_epoch: int) -> int:
        """The epoch of the fetcher's last record, by which its log is compared with ours at every fetch (-1: it is
        not)."""
        if "fetch-not-epoch-fenced" in self._bugs and current_leader_epoch < self.leader_epoch:
            # The mistake: logs are compared when a follower enters its epoch, and whose epoch that is nobody asks.
            return -1
        return last_fetched_epoch

    def diverging(self, fetch_offset: int, last_fetched_epoch: int) -> EpochEnd | None:
        """Where the fetcher's log stops being a prefix of ours; None while it is one."""
        if last_fetched_epoch < 0:
            return None
        log = self._log
        if last_fetched_epoch == log.epochs.latest and fetch_offset <= log.end_offset:
            # By far the commonest: the same newest epoch, and no more of it than we have.
            return None
        if "kip279-fast-failover-divergence" in self._bugs:
            end = self._log.epochs.end_of_as_in_kip101(last_fetched_epoch, self._log.end_offset)
        else:
            end = self._log.epochs.end_of(last_fetched_epoch, self._log.end_offset)
        if end.epoch < last_fetched_epoch or end.end_offset < fetch_offset:
            return end
        return None

    def fetch_for_follower(
        self,
        follower: int,
        broker_epoch: int,
        fetch_offset: int,
        last_fetched_epoch: int,
        max_bytes: int,
        log_start_offset: int = -1,
    ) -> Fetched:
        """A replica's fetch in our epoch (checked before): divergence, or its progress and more data."""
        progress = self.followers.get(follower)
        if progress is None:
            raise KafkaError(ErrorCode.not_leader_or_follower, f"{follower} is no replica of {self.name}")
        registered = self._partition.surroundings.registration(follower)
        if registered is not None and broker_epoch < registered.epoch:
            # An older incarnation's fetch, delivered late, says nothing of what the present one holds.
            self._late("fetch of an older broker epoch")
            raise KafkaError(ErrorCode.stale_broker_epoch, f"{broker_epoch}, registered {registered.epoch}")
        diverging = self.diverging(fetch_offset, last_fetched_epoch)
        high_watermark = self._partition.high_watermark
        if diverging is not None:
            return Fetched(b"", high_watermark, high_watermark, self._log.start_offset, diverging)
        self._check_range(fetch_offset)
        end = self._log.end_offset
        moved = progress.end_offset != fetch_offset
        progress.on_fetch(fetch_offset, broker_epoch, end, self._now())
        if log_start_offset != progress.log_start_offset:
            progress.log_start_offset = log_start_offset
            self._begun.reached(self.low_watermark)
        self._maybe_expand_isr(follower, progress)
        if moved:
            self._advance_high_watermark()
        records, _ = self._log.read_to_send(fetch_offset, end, max_bytes)
        high_watermark = self._partition.high_watermark
        return Fetched(records, high_watermark, high_watermark, self._log.start_offset)

    @property
    def low_watermark(self) -> int:
        """The smallest log start over all replicas in service."""
        self.check_active()
        starts = [self._log.start_offset]
        for replica, progress in self.followers.items():
            registered = self._partition.surroundings.registration(replica)
            if registered is not None and not registered.fenced:
                starts.append(progress.log_start_offset)
        return min(starts)

    async def low_watermark_at(self, offset: int) -> None:
        """Returns once the low watermark has come to `offset`. Raises `KafkaError` when the epoch ends."""
        if self.low_watermark < offset:
            await self._begun.wait_for(offset)

    def resting(self, follower: int) -> FollowerProgress | None:
        """The progress of a follower whose next fetches change nothing until this partition moves: it has
        all we have and is in sync. None where every fetch counts."""
        progress = self.followers.get(follower)
        if progress is None or progress.end_offset < self._log.end_offset:
            return None
        return progress if follower in self.isr.committed else None

    def visible_end(self, *, read_committed: bool) -> int:
        """What a consumer may read up to (rule 6): the high watermark, or the last stable offset."""
        if "read-above-hw" in self._bugs:
            return self._log.end_offset
        if read_committed:
            return self._log.producers.last_stable_offset(self._partition.high_watermark)
        return self._partition.high_watermark

    def fetch_for_consumer(
        self, fetch_offset: int, last_fetched_epoch: int, max_bytes: int, *, read_committed: bool
    ) -> Fetched:
        if last_fetched_epoch > self._log.epochs.latest:
            raise KafkaError(
                ErrorCode.offset_out_of_range, f"{self.name}: epoch {last_fetched_epoch} is none"
            )
        diverging = self.diverging(fetch_offset, last_fetched_epoch)
        if diverging is not None:
            return self._fetched(b"", diverging)
        self._check_range(fetch_offset)
        end = self.visible_end(read_committed=read_committed)
        records, found_end = self._log.read_to_send(fetch_offset, end, max_bytes)
        aborted = None
        if read_committed:
            aborted = []
            if records and "aborted-index-wrong" not in self._bugs:
                aborted = self._log.producers.aborted_in(fetch_offset, found_end)
        return self._fetched(records, None, aborted)

    def wake_on_append(self, future: asyncio.Future[None]) -> None:
        self._partition.appended.add(future)

    def wake_on_visible(self, future: asyncio.Future[None]) -> None:
        self._partition.visible.add(future)

    def forget_watcher(self, future: asyncio.Future[None]) -> None:
        self._partition.appended.discard(future)
        self._partition.visible.discard(future)

    def _check_range(self, fetch_offset: int) -> None:
        if not self._log.start_offset <= fetch_offset <= self._log.end_offset:
            raise KafkaError(
                ErrorCode.offset_out_of_range,
                f"{fetch_offset} not in {self._log.start_offset}..{self._log.end_offset}",
            )

    def _fetched(
        self,
        records: Records,
        diverging: EpochEnd | None = None,
        aborted: list[AbortedTransaction] | None = None,
    ) -> Fetched:
        high_watermark = self._partition.high_watermark
        return Fetched(
            records,
            high_watermark,
            self._log.producers.last_stable_offset(high_watermark),
            self._log.start_offset,
            diverging,
            aborted,
        )

    # ── offsets ──────────────────────────────────────────────────────────────────────────────────────

    def latest_offset(self, *, read_committed: bool) -> int:
        """Rule 6: an end offset only once the high watermark has reached the start of our epoch; before
        that an answer could be lower than one given by our predecessor (KIP-207)."""
        self.check_active()
        knows = self._partition.high_watermark >= self.epoch_start
        if not knows and "list-offsets-regress" not in self._bugs:
            raise KafkaError(
                ErrorCode.offset_not_available,
                f"{self.name} HW {self._partition.high_watermark} is below the epoch's start {self.epoch_start}",
            )
        return self.visible_end(read_committed=read_committed)

    def epoch_at(self, offset: int) -> int:
        return self._log.epochs.epoch_at(offset)

    def end_of_epoch(self, epoch: int) -> EpochEnd:
        """KIP-279: the largest epoch up to the asked one, and where it ends; nothing is known of epochs that
        are still to come."""
        if epoch > self._log.epochs.latest:
            return UNKNOWN_EPOCH
        return self._log.epochs.end_of(epoch, self._log.end_offset)

    def first_batch_since(self, timestamp_ms: int, end_offset: int) -> tuple[int, bytes] | None:
        return self._log.offset_for_timestamp(timestamp_ms, end_offset)

    def max_timestamp(self, end_offset: int) -> int:
        return self._log.max_timestamp(end_offset)

    def read_batches(self, start_offset: int, end_offset: int) -> Iterator[bytes]:
        for _, batch in self._log.batches(start_offset, end_offset):
            yield batch
