"""A partition's leader in one leader epoch (semantics 2.1 rules 2 and 4 to 8).

One object per epoch: a change of epoch makes a new one, so nothing of an old epoch can be acted on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from kio.schema.errors import ErrorCode

from systems.broker import isr as isr_rules
from systems.broker.context import Appended, KafkaError
from systems.broker.controller.events import broker_name
from systems.broker.isr import FollowerProgress, Isr
from systems.broker.log.batch import (
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    BatchHeader,
    CorruptBatch,
    WrongChecksum,
    control_batch,
    parse,
    split,
    stamp,
    with_append_time,
)
from systems.broker.log.leader_epochs import UNKNOWN_EPOCH, EpochEnd
from systems.broker.metadata import PartitionState
from systems.broker.producer_state import AbortedTransaction
from systems.broker.verifying import Verifications
from systems.broker.waiting import OffsetWaiters

if TYPE_CHECKING:
    from systems.broker.partition import Partition


class Fetched(NamedTuple):
    """What a fetch got. `diverging` is set instead of data where the fetcher's log is not a prefix of ours."""

    records: bytes
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    diverging: EpochEnd | None = None
    aborted: list[AbortedTransaction] | None = None


class Leader:
    """Rule 2, become leader: the epoch starts at our end of log; the high watermark is kept, perhaps
    stale-low; nothing is known of any follower; no ISR change is pending. Producer state and open
    transactions are the log's own, so they are ready before the first write."""

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
        self.verifying = Verifications()
        self._env.emit(
            "leader-elected",
            partition=partition.name,
            leader=self._env.name,
            leader_epoch=self.leader_epoch,
            partition_epoch=state.partition_epoch,
            isr=self._names(self.isr.committed),
            replicas=self._names(self.replicas),
            epoch_start=self.epoch_start,
        )
        self._advance_high_watermark()

    # ── what others may ask ──────────────────────────────────────────────────────────────────────────

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

    def read_batches(self, start_offset: int, end_offset: int) -> Iterator[bytes]:
        for _, batch in self._log.batches(start_offset, end_offset):
            yield batch

    def last_record_offset_of(self, producer_id: int) -> int | None:
        return self._log.producers.open_since(producer_id)

    # ── rule 6: produce ──────────────────────────────────────────────────────────────────────────────

    async def append(
        self, batches: bytes, *, acks: int, timeout_ms: int, leader_epoch: int | None = None
    ) -> Appended:
        self.check_active(leader_epoch)
        appended = self.append_now(batches, acks=acks)
        await self.acknowledged(appended, acks=acks, timeout_ms=timeout_ms)
        return appended

    def append_now(
        self,
        batches: bytes,
        *,
        acks: int,
        from_client: bool = False,
        verified: bool = False,
        guard: object | None = None,
    ) -> Appended:
        """Appends without waiting. With `verified` a transaction's first batch needs the `guard` that
        `verifying` gave out; a coordinator's own does not."""
        self._check_in_sync_replicas(acks)
        base = last = self._log.end_offset
        try:
            for header, batch in self._split(batches, from_client=from_client):
                duplicate = self._log.producers.check(
                    header, gaps_allowed="sequence-gap-accepted" in self._bugs
                )
                if duplicate is not None:
                    self._env.emit(
                        "duplicate-recognised",
                        partition=self.name,
                        producer_id=header.producer_id,
                        offset=duplicate.base_offset,
                    )
                    return Appended(
                        duplicate.base_offset, duplicate.last_offset, -1, self._log.start_offset, True
                    )
                if verified and self.needs_verification(header):
                    self.verifying.admit(header, guard, self._log.producers.entry(header.producer_id))
                last = self._append_batch(batch)
        finally:
            # Also where the disk refused the second of two batches: the first is there.
            if self._log.end_offset > base:
                self._after_append()
        return Appended(base, last, self._append_time(), self._log.start_offset)

    async def append_marker(
        self,
        *,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        transaction_version: int,
        commit: bool,
        timeout_ms: int,
    ) -> Appended:
        """Rule 2.4.6. Acknowledged only when replicated, duplicates included."""
        self.check_active()
        self._check_in_sync_replicas(-1)
        offset = self._log.end_offset
        try:
            duplicate = not self._log.producers.check_marker(
                producer_id, producer_epoch, coordinator_epoch, transaction_version
            )
        except KafkaError:
            self._late("transaction marker of another epoch")
            raise
        if duplicate:
            self._late("repeated transaction marker")
            offset -= 1
        else:
            self.verifying.end(producer_id)
            self._append_batch(
                control_batch(
                    producer_id=producer_id,
                    producer_epoch=producer_epoch,
                    coordinator_epoch=coordinator_epoch,
                    commit=commit,
                    timestamp_ms=self._wall_ms(),
                )
            )
            self._after_append()
        appended = Appended(offset, offset, self._wall_ms(), self._log.start_offset, duplicate)
        await self.acknowledged(appended, acks=-1, timeout_ms=timeout_ms)
        return appended

    async def acknowledged(self, appended: Appended, *, acks: int, timeout_ms: int) -> None:
        """Rule 6: acks=1 once it is in our log, acks=all once the high watermark has passed it *and* the
        ISR is still large enough. Raises what makes the outcome unknown."""
        if not self._log.is_durable:
            await self._flush()
        if acks != -1:
            return
        required = appended.last_offset + 1
        if self._partition.high_watermark < required:
            replicated = self._replicated.wait_for(required)
            timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, _expire, replicated)
            try:
                await replicated
            except TimeoutError:
                raise KafkaError(
                    ErrorCode.request_timed_out, f"{self.name} offset {required - 1} is not replicated"
                ) from None
            finally:
                timer.cancel()
        self.check_active()
        if len(self.isr.committed) < self.min_isr:
            raise KafkaError(
                ErrorCode.not_enough_replicas_after_append,
                f"{self.name} ISR {self.isr.committed}, min.insync.replicas {self.min_isr}",
            )

    def _check_in_sync_replicas(self, acks: int) -> None:
        """Rule 6: acks=all is refused before the append while the ISR is too small."""
        if acks == -1 and len(self.isr.committed) < self.min_isr:
            raise KafkaError(
                ErrorCode.not_enough_replicas,
                f"{self.name} ISR {self.isr.committed}, min.insync.replicas {self.min_isr}",
            )

    def _split(self, batches: bytes, *, from_client: bool) -> list[tuple[BatchHeader, bytes]]:
        try:
            found = split(batches)
        except WrongChecksum as error:
            raise KafkaError(ErrorCode.corrupt_message, f"{self.name}: {error}") from None
        except CorruptBatch as error:
            raise KafkaError(ErrorCode.invalid_record, f"{self.name}: {error}") from None
        if not found:
            raise KafkaError(ErrorCode.invalid_record, f"{self.name}: no record batch")
        if len(found) > 1 and from_client:
            raise KafkaError(ErrorCode.invalid_record, f"{self.name}: {len(found)} batches, expected one")
        for header, batch in found:
            if from_client and header.producer_id != NO_PRODUCER_ID and header.base_sequence == NO_SEQUENCE:
                raise KafkaError(ErrorCode.invalid_record, f"{self.name}: a producer id without a sequence")
            if len(batch) > self._partition.config.max_message_bytes:
                raise KafkaError(ErrorCode.message_too_large, f"{self.name}: a batch of {len(batch)} bytes")
            if header.is_control:
                raise KafkaError(ErrorCode.invalid_record, f"{self.name}: a client sent a control batch")
        return found

    def _append_batch(self, batch: bytes) -> int:
        if self._partition.config.log_append_time:
            batch = with_append_time(batch, self._wall_ms())
        batch = stamp(batch, base_offset=self._log.end_offset, leader_epoch=self.leader_epoch)
        header = parse(batch, check_crc=False)
        try:
            self._log.append(header, batch)
        except OSError as error:
            raise KafkaError(ErrorCode.kafka_storage_error, f"{self.name}: {error}") from error
        return header.last_offset

    def _after_append(self) -> None:
        self._advance_high_watermark()
        self._partition.appended.notify()

    async def _flush(self) -> None:
        """`log.flush.interval.messages=1`: our own copy counts once it is fsynced."""
        try:
            await self._log.flush()
        except OSError as error:
            raise KafkaError(ErrorCode.kafka_storage_error, f"{self.name}: {error}") from error
        if self.active:
            self._advance_high_watermark()

    def _append_time(self) -> int:
        return self._wall_ms() if self._partition.config.log_append_time else -1

    # ── KIP-890: a transaction's first write here ────────────────────────────────────────────────────

    def needs_verification(self, header: BatchHeader) -> bool:
        """Whether the coordinator must confirm that this partition is part of the producer's transaction
        (2.4.2): always for the first batch of a transaction, never for the following ones."""
        if not header.is_transactional or "late-produce-after-abort" in self._bugs:
            return False
        entry = self._log.producers.entry(header.producer_id)
        return entry is None or entry.open_since < 0 or entry.epoch != header.producer_epoch

    # ── rule 4: fetch ────────────────────────────────────────────────────────────────────────────────

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
        self, follower: int, broker_epoch: int, fetch_offset: int, last_fetched_epoch: int, max_bytes: int
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
        self._maybe_expand_isr(follower, progress)
        if moved:
            self._advance_high_watermark()
        records = self._log.read(fetch_offset, end, max_bytes).records if fetch_offset < end else b""
        high_watermark = self._partition.high_watermark
        return Fetched(records, high_watermark, high_watermark, self._log.start_offset)

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
        found = self._log.read(fetch_offset, end, max_bytes)
        aborted = None
        if read_committed:
            aborted = []
            if found.records and "aborted-index-wrong" not in self._bugs:
                aborted = self._log.producers.aborted_in(fetch_offset, found.end_offset)
        return self._fetched(found.records, None, aborted)

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
        records: bytes,
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
        if self._partition.high_watermark < self.epoch_start:
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

    # ── rule 5: high watermark ───────────────────────────────────────────────────────────────────────

    def _advance_high_watermark(self) -> None:
        """HW := min end of log over ISR ∪ pending ISR, all seen in this epoch, only if |ISR| ≥ min.isr
        (KIP-966), never decreasing."""
        if len(self.isr.committed) < self.min_isr and "hw-advances-below-min-isr" not in self._bugs:
            return
        members = self.isr.maximal
        if "hw-from-committed-isr-only" in self._bugs:
            members = self.isr.committed
        offset = isr_rules.high_watermark(members, self._env.id, self._log.durable_end_offset, self.followers)
        if offset > self._partition.high_watermark:
            self._partition.high_watermark = offset
            self._replicated.reached(offset)
            self._partition.appended.stir()
            self._partition.visible.notify()

    # ── rules 7 and 8: ISR ───────────────────────────────────────────────────────────────────────────

    def maybe_shrink_isr(self, lag_time: float) -> None:
        """Rule 7: proposes to drop members that lag in time; they count until the controller confirms."""
        if self.isr.pending is not None:
            return
        late = isr_rules.lagging(
            self.isr.committed, self._env.id, self._log.end_offset, self.followers, self._now(), lag_time
        )
        if late:
            self._propose(tuple(m for m in self.isr.committed if m not in late))

    def _maybe_expand_isr(self, follower: int, progress: FollowerProgress) -> None:
        if self.isr.pending is not None or follower in self.isr.committed:
            return
        epoch_start = 0 if "isr-expand-below-leader-epoch-start" in self._bugs else self.epoch_start
        registered = self._partition.surroundings.registration(follower)
        epoch = registered.epoch if registered is not None and not registered.fenced else None
        if isr_rules.may_join(progress, self._partition.high_watermark, epoch_start, epoch):
            self._propose((*self.isr.committed, follower))

    def _propose(self, members: tuple[int, ...]) -> None:
        self.isr = self.isr.proposing(members)
        self._partition.surroundings.propose_isr(self)

    def broker_epochs(self, members: tuple[int, ...], own_epoch: int) -> list[tuple[int, int]]:
        """The incarnations that a proposal speaks of (KIP-903)."""
        return [(m, own_epoch if m == self._env.id else self.followers[m].broker_epoch) for m in members]

    def on_isr_withdrawn(self, proposal: Isr) -> None:
        """The controller certainly refused that proposal."""
        if self.active and self.isr == proposal:
            self.isr = self.isr.withdrawn()

    def on_partition_state(self, state: PartitionState) -> None:
        """Metadata within this epoch."""
        self.on_isr_confirmed(state.isr, state.partition_epoch)

    def on_isr_confirmed(self, members: tuple[int, ...], partition_epoch: int) -> None:
        """Rule 8: applied only if the partition epoch is higher than the known one."""
        if not self.active or partition_epoch <= self.isr.partition_epoch:
            return
        before = self.isr.committed
        self.isr = self.isr.confirmed(members, partition_epoch)
        now = self.isr.committed
        if now != before:
            shrunk = not set(before) <= set(now)
            self._env.emit(
                "isr-shrunk" if shrunk else "isr-expanded",
                partition=self.name,
                leader_epoch=self.leader_epoch,
                partition_epoch=partition_epoch,
                isr=self._names(now),
                was=self._names(before),
                min_isr=self.min_isr,
            )
        self._advance_high_watermark()
        self._partition.appended.stir()
        self._partition.visible.notify()

    # ── the end of the epoch ─────────────────────────────────────────────────────────────────────────

    def resign(self) -> None:
        """Somebody else leads, or we do again in a newer epoch: what was waiting has an unknown outcome."""
        self.active = False
        self._replicated.fail(
            KafkaError(ErrorCode.not_leader_or_follower, f"{self.name} epoch {self.leader_epoch} is over")
        )

    def _names(self, brokers: tuple[int, ...]) -> list[str]:
        return [broker_name(self._env, b) for b in brokers]

    def _late(self, what: str) -> None:
        """Something that was sent in an earlier epoch arrived only now, and was refused."""
        self._env.emit("late-request", partition=self.name, what=what)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wall_ms(self) -> int:
        return self._env.wall_clock.time_ns() // 1_000_000


def _expire(replicated: asyncio.Future[None]) -> None:
    if not replicated.done():
        replicated.set_exception(TimeoutError())
