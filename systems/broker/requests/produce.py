"""Produce: client batches into led partitions (semantics 2.1 rule 6, 2.3, 2.4.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Appended, Broker, Handler, KafkaError, RequestContext
from systems.broker.leader import Leader
from systems.broker.log.batch import CorruptBatch, parse
from systems.broker.quotas.throttling import Quotas
from systems.broker.replicas import ReplicaManager
from systems.broker.server import CloseConnection, Throttled
from systems.broker.transactions.verification import verify

PRODUCE = 0
VERSIONS = range(3, 13)
TRANSACTION_V2_VERSION = 12
"""From here on a transactional produce adds its partition to the transaction itself (KIP-890)."""
ABORTABLE_VERSION = 11
"""From here on clients know TRANSACTION_ABORTABLE."""

CONCURRENT_RETRY_S = 0.02
CONCURRENT_RETRIES = 5

_ASK_AGAIN = frozenset(
    {
        ErrorCode.concurrent_transactions,
        ErrorCode.network_exception,
        ErrorCode.coordinator_load_in_progress,
        ErrorCode.coordinator_not_available,
        ErrorCode.not_coordinator,
        ErrorCode.request_timed_out,
    }
)
"""Verification could not be done now. Older producers may not retry these; NOT_ENOUGH_REPLICAS they do, and
it says the truth: nothing was appended."""


class _Written(NamedTuple):
    """One partition's outcome so far: appended, or refused."""

    partition: int
    leader: Leader | None = None
    appended: Appended | None = None
    error: KafkaError | None = None


class Produce:
    def __init__(self, broker: Broker, replicas: ReplicaManager, quotas: Quotas) -> None:
        self._broker = broker
        self._replicas = replicas
        self._quotas = quotas
        self._verifies = bool(broker.env.config.get("transaction.partition.verification.enable", True))

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {PRODUCE: (VERSIONS, self.on_produce)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_produce(self, context: RequestContext, request: Any) -> Any:
        """Verifies, then appends to every partition without a pause in between, then waits for all."""
        acks = request.acks
        timeout_ms = messages.in_milliseconds(request.timeout)
        guards = await self._verified(context, request)
        written = [
            (topic.name, [self._append(topic.name, part, acks, guards) for part in topic.partition_data])
            for topic in request.topic_data
        ]
        waiting = [one for _, parts in written for one in parts if one.appended is not None]
        if len(waiting) == 1:
            errors = [await self._acknowledged(waiting[0], acks, timeout_ms)]
        else:
            errors = await asyncio.gather(*(self._acknowledged(one, acks, timeout_ms) for one in waiting))
        late = {id_of(one): error for one, error in zip(waiting, errors, strict=True) if error is not None}
        if acks == 0:
            failed = late or any(one.error for _, parts in written for one in parts)
            if failed:
                # So that the producer, which hears of no error, at least looks for a new leader.
                raise CloseConnection("an acks=0 produce failed")
            return Throttled(None, self._quotas.on_produce(context))
        answer = messages.response(
            context,
            responses=[
                {
                    "name": name,
                    "partition_responses": [self._answer(one, late.get(id_of(one))) for one in parts],
                }
                for name, parts in written
            ],
        )
        return Throttled(answer, self._quotas.on_produce(context))

    def _append(
        self, topic: str, part: Any, acks: int, guards: dict[tuple[str, int], object | KafkaError]
    ) -> _Written:
        guard = guards.get((topic, part.index))
        if isinstance(guard, KafkaError):
            return _Written(part.index, error=guard)
        try:
            if acks not in (-1, 0, 1):
                raise KafkaError(ErrorCode.invalid_required_acks, str(acks))
            leader = self._replicas.leader_of(topic, part.index)
            appended = leader.append_now(
                part.records or b"", acks=acks, from_client=True, verified=self._verifies, guard=guard
            )
            return _Written(part.index, leader, appended)
        except KafkaError as error:
            if error.code is ErrorCode.invalid_producer_epoch:
                self._broker.env.emit(
                    "producer-fenced", partition=f"{topic}/{part.index}", by="leader", detail=str(error)
                )
            return _Written(part.index, error=error)

    async def _acknowledged(self, written: _Written, acks: int, timeout_ms: int) -> KafkaError | None:
        if written.leader is None or written.appended is None:
            return None
        try:
            await written.leader.acknowledged(written.appended, acks=acks, timeout_ms=timeout_ms)
        except KafkaError as error:
            return error
        return None

    def _answer(self, written: _Written, late: KafkaError | None) -> dict[str, Any]:
        error = written.error or late
        appended = written.appended
        if error is not None or appended is None:
            code = error.code if error is not None else ErrorCode.unknown_server_error
            return {
                "index": written.partition,
                "error_code": code,
                "base_offset": -1,
                "log_append_time": None,
                "log_start_offset": -1,
                "record_errors": (),
                "error_message": str(error),
            }
        return {
            "index": written.partition,
            "error_code": ErrorCode.none,
            "base_offset": appended.base_offset,
            "log_append_time": messages.timestamp(appended.append_time_ms),
            "log_start_offset": appended.log_start_offset,
            "record_errors": (),
        }

    # ── KIP-890 ──────────────────────────────────────────────────────────────────────────────────────

    async def _verified(
        self, context: RequestContext, request: Any
    ) -> dict[tuple[str, int], object | KafkaError]:
        """For each partition where a transaction begins: the guard to append with, or why not."""
        transactional_id = request.transactional_id
        if not transactional_id:
            return _anonymous(request)
        if not self._verifies:
            return {}
        guards: dict[tuple[str, int], object | KafkaError] = {}
        asked: dict[tuple[int, int], list[tuple[str, int]]] = {}
        for topic in request.topic_data:
            for part in topic.partition_data:
                try:
                    leader = self._replicas.leader_of(topic.name, part.index)
                    header = parse(part.records or b"", check_crc=False)
                except (KafkaError, CorruptBatch):
                    # The append says what is wrong.
                    continue
                if leader.needs_verification(header):
                    where = (topic.name, part.index)
                    guards[where] = leader.verifying.begin(
                        header, raises_epoch=context.version >= TRANSACTION_V2_VERSION
                    )
                    asked.setdefault((header.producer_id, header.producer_epoch), []).append(where)
        for (producer_id, producer_epoch), partitions in asked.items():
            error = await self._ask(context, transactional_id, producer_id, producer_epoch, partitions)
            if error is not None:
                guards.update(dict.fromkeys(partitions, error))
        return guards

    async def _ask(
        self,
        context: RequestContext,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: list[tuple[str, int]],
    ) -> KafkaError | None:
        for attempt in range(CONCURRENT_RETRIES + 1):
            try:
                await verify(
                    self._broker,
                    transactional_id=transactional_id,
                    producer_id=producer_id,
                    producer_epoch=producer_epoch,
                    partitions=partitions,
                    add=context.version >= TRANSACTION_V2_VERSION,
                )
            except KafkaError as error:
                if error.code is ErrorCode.concurrent_transactions and attempt < CONCURRENT_RETRIES:
                    await asyncio.sleep(CONCURRENT_RETRY_S)
                    continue
                return _for_producer(error, context.version)
            return None
        raise AssertionError("unreachable")


def _anonymous(request: Any) -> dict[tuple[str, int], object | KafkaError]:
    """Transactional records in a request that names no transactional id: nobody may write those."""
    refused = KafkaError(ErrorCode.transactional_id_authorization_failed, "a transaction without its id")
    for topic in request.topic_data:
        for part in topic.partition_data:
            try:
                if parse(part.records or b"", check_crc=False).is_transactional:
                    return {(t.name, p.index): refused for t in request.topic_data for p in t.partition_data}
            except CorruptBatch:
                # The append says what is wrong.
                continue
    return {}


def _for_producer(error: KafkaError, version: int) -> KafkaError:
    """The coordinator's verdict in words that a producer of that version knows."""
    if error.code in _ASK_AGAIN:
        return KafkaError(ErrorCode.not_enough_replicas, f"not verified: {error}")
    if error.code is ErrorCode.producer_fenced:
        return KafkaError(ErrorCode.invalid_producer_epoch, str(error))
    if error.code is ErrorCode.transaction_abortable and version < ABORTABLE_VERSION:
        return KafkaError(ErrorCode.invalid_txn_state, str(error))
    return error


def id_of(written: _Written) -> tuple[str, int]:
    """Names one partition of a request."""
    return (written.leader.topic if written.leader is not None else "", written.partition)
