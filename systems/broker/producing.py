"""What a leader does with a write (semantics 2.1 rule 6): append, acknowledge, transaction markers."""

from __future__ import annotations

import asyncio

from kio.schema.errors import ErrorCode

from systems.broker.context import Appended, KafkaError
from systems.broker.in_sync import InSync
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
from systems.broker.log.compression import BadCompression
from systems.broker.log.records import BadRecords, records


class Producing(InSync):
    """Rule 6: produce."""

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
                duplicate = self._log.producers.check(header, self._bugs)
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
        if "stale-group-coordinator-acks" not in self._bugs:
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
            if from_client and self._partition.config.compacts:
                self._check_keys(header, batch)
        return found

    def _check_keys(self, header: BatchHeader, batch: bytes) -> None:
        """A table has no place for a record without a key: nothing would ever replace it."""
        try:
            keyless = any(record.key is None for record in records(header, batch))
        except (BadRecords, BadCompression) as error:
            raise KafkaError(ErrorCode.corrupt_message, f"{self.name}: {error}") from None
        if keyless:
            raise KafkaError(ErrorCode.invalid_record, f"{self.name} is compacted: a record needs a key")

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


def _expire(replicated: asyncio.Future[None]) -> None:
    if not replicated.done():
        replicated.set_exception(TimeoutError())
