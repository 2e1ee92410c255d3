"""Fetch: followers replicate and consumers read with it (semantics 2.1 rules 4 and 6, 2.4.6)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from kio.index import load_payload_module
from kio.schema.errors import ErrorCode
from kio.static.constants import EntityType

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.leader import Fetched, Leader
from systems.broker.replicas import ReplicaManager
from systems.broker.requests.fetch_sessions import (
    FINAL_EPOCH,
    INITIAL_EPOCH,
    NO_SESSION,
    FetchSession,
    FetchSessions,
)

FETCH = 1
VERSIONS = range(4, 18)
TOPIC_IDS_VERSION = 13
READ_COMMITTED = 1
_NO_THROTTLE = messages.milliseconds(0)


_Key = tuple[Any, int]
"""A partition as the request names it: by topic id, or by name in older versions."""


class _Wanted(NamedTuple):
    """One partition of a request, in the terms of every version."""

    topic: str | None
    topic_id: uuid.UUID | None
    partition: int
    fetch_offset: int
    current_leader_epoch: int
    last_fetched_epoch: int
    max_bytes: int

    @property
    def key(self) -> _Key:
        return (self.topic_id or self.topic, self.partition)


class _Fetcher(NamedTuple):
    """Who asks: a replica with its broker epoch, or a consumer with its isolation."""

    replica: int
    broker_epoch: int
    read_committed: bool

    @property
    def is_follower(self) -> bool:
        return self.replica >= 0


class _Result(NamedTuple):
    wanted: _Wanted
    fetched: Fetched | None
    error: ErrorCode
    leader: Leader | None = None


class Fetch:
    """Sessions (KIP-227) are granted to followers only: for a consumer the session id in every answer is 0,
    and it falls back to full requests."""

    def __init__(self, broker: Broker, replicas: ReplicaManager) -> None:
        self._broker = broker
        self._replicas = replicas
        self._sessions: FetchSessions[_Key, _Wanted] = FetchSessions(broker.env.random)

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {FETCH: (VERSIONS, self.on_fetch)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_fetch(self, context: RequestContext, request: Any) -> Any:
        fetcher = _fetcher(context.version, request)
        try:
            session = self._session(context.version, request, fetcher)
        except KafkaError as error:
            return _answer(context, error.code, NO_SESSION, [])
        changed = self._wanted(context.version, request)
        wanted = changed
        if session is not None:
            session.update(((w.key, w) for w in changed), _forgotten(request))
            wanted = list(session.wanted.values())
        min_bytes = request.min_bytes
        loop = asyncio.get_running_loop()
        deadline = loop.time() + messages.in_milliseconds(request.max_wait) / 1000
        while True:
            results, size, urgent = self._read(wanted, fetcher, request.max_bytes)
            if size >= min_bytes or urgent or loop.time() >= deadline:
                break
            await self._until_moved(results, fetcher, deadline)
        if session is None:
            return _answer(context, ErrorCode.none, NO_SESSION, results)
        news = (
            results
            if request.session_epoch == INITIAL_EPOCH
            else [r for r in results if _is_news(session, r)]
        )
        for result in news:
            if result.fetched is not None:
                session.told[result.wanted.key] = (
                    result.fetched.high_watermark,
                    result.fetched.log_start_offset,
                )
        return _answer(context, ErrorCode.none, session.id, news)

    def _session(self, version: int, request: Any, fetcher: _Fetcher) -> FetchSession[_Key, _Wanted] | None:
        """None for a fetch without a session."""
        if version < 7:
            return None
        if request.session_epoch == INITIAL_EPOCH and fetcher.is_follower:
            return self._sessions.begin(fetcher.replica)
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            return None
        return self._sessions.continue_(fetcher.replica, request.session_id, request.session_epoch)

    def _wanted(self, version: int, request: Any) -> list[_Wanted]:
        wanted = []
        for topic in request.topics:
            if version >= TOPIC_IDS_VERSION:
                # The name is looked up at each read: a session may begin before we know the topic.
                topic_id, name = topic.topic_id, None
            else:
                topic_id, name = None, topic.topic
            for part in topic.partitions:
                wanted.append(
                    _Wanted(
                        name,
                        topic_id,
                        part.partition,
                        part.fetch_offset,
                        part.current_leader_epoch if version >= 9 else -1,
                        part.last_fetched_epoch if version >= 12 else -1,
                        part.partition_max_bytes,
                    )
                )
        return wanted

    def _read(
        self, wanted: list[_Wanted], fetcher: _Fetcher, max_bytes: int
    ) -> tuple[list[_Result], int, bool]:
        """(results, bytes read, whether they must be sent at once: an error or a divergence)."""
        results: list[_Result] = []
        size, urgent = 0, False
        for one in wanted:
            # The first partition may exceed the limits by one batch, so that a large one does not block.
            budget = min(one.max_bytes, max_bytes - size)
            try:
                leader = self._leader(one)
                fetched = self._read_one(leader, one, fetcher, budget, may_exceed=size == 0)
            except KafkaError as error:
                results.append(_Result(one, None, error.code))
                urgent = True
                continue
            size += len(fetched.records)
            urgent = urgent or fetched.diverging is not None
            results.append(_Result(one, fetched, ErrorCode.none, leader))
        return results, size, urgent

    def _read_one(
        self, leader: Leader, one: _Wanted, fetcher: _Fetcher, budget: int, *, may_exceed: bool
    ) -> Fetched:
        leader.check_epoch(one.current_leader_epoch)
        if fetcher.is_follower:
            fetched = leader.fetch_for_follower(
                fetcher.replica, fetcher.broker_epoch, one.fetch_offset, one.last_fetched_epoch, budget
            )
        else:
            fetched = leader.fetch_for_consumer(
                one.fetch_offset, one.last_fetched_epoch, budget, read_committed=fetcher.read_committed
            )
        if len(fetched.records) > budget and not may_exceed:
            return fetched._replace(records=b"", aborted=None if fetched.aborted is None else [])
        return fetched

    def _leader(self, one: _Wanted) -> Leader:
        topic = one.topic
        if one.topic_id is not None:
            topic = self._replicas.topic_name(one.topic_id.bytes)
        if topic is None:
            raise KafkaError(ErrorCode.unknown_topic_id, str(one.topic_id))
        return self._replicas.leader_of(topic, one.partition)

    async def _until_moved(self, results: list[_Result], fetcher: _Fetcher, deadline: float) -> None:
        """Waits until a partition moves in a way that this fetcher can see, or until the deadline."""
        loop = asyncio.get_running_loop()
        moved: asyncio.Future[None] = loop.create_future()
        leaders = [result.leader for result in results if result.leader is not None]
        for leader in leaders:
            if fetcher.is_follower:
                leader.wake_on_append(moved)
            else:
                leader.wake_on_visible(moved)
        timer = loop.call_at(deadline, _wake, moved)
        try:
            await moved
        finally:
            timer.cancel()
            for leader in leaders:
                leader.forget_watcher(moved)


def _forgotten(request: Any) -> list[_Key]:
    return [
        (topic.topic_id if hasattr(topic, "topic_id") else topic.topic, partition)
        for topic in request.forgotten_topics_data
        for partition in topic.partitions
    ]


def _is_news(session: FetchSession[_Key, _Wanted], result: _Result) -> bool:
    """Records, an error, a divergence, or other offsets than the follower was last told."""
    fetched = result.fetched
    if fetched is None or fetched.records or fetched.diverging is not None:
        return True
    return session.told.get(result.wanted.key) != (fetched.high_watermark, fetched.log_start_offset)


def _wake(moved: asyncio.Future[None]) -> None:
    if not moved.done():
        moved.set_result(None)


def _fetcher(version: int, request: Any) -> _Fetcher:
    if version >= 15:
        replica, epoch = request.replica_state.replica_id, request.replica_state.replica_epoch
    else:
        replica, epoch = request.replica_id, -1
    return _Fetcher(replica, epoch, request.isolation_level == READ_COMMITTED)


@cache
def _schema(version: int) -> Any:
    return load_payload_module(FETCH, version, EntityType.response)


def _answer(context: RequestContext, error: ErrorCode, session_id: int, results: list[_Result]) -> Any:
    """Built by hand: this is the hottest message of a broker."""
    version = context.version
    schema = _schema(version)
    topics: dict[Any, list[Any]] = {}
    for result in results:
        key = result.wanted.topic_id if version >= TOPIC_IDS_VERSION else result.wanted.topic
        topics.setdefault(key, []).append(_partition(schema, version, result))
    name = "topic_id" if version >= TOPIC_IDS_VERSION else "topic"
    responses = tuple(
        schema.FetchableTopicResponse(**{name: key}, partitions=tuple(parts)) for key, parts in topics.items()
    )
    if version < 7:
        return schema.FetchResponse(throttle_time=_NO_THROTTLE, responses=responses)
    return schema.FetchResponse(
        throttle_time=_NO_THROTTLE, error_code=error, session_id=session_id, responses=responses
    )


def _partition(schema: Any, version: int, result: _Result) -> Any:
    fetched = result.fetched
    fields: dict[str, Any] = {}
    if fetched is None:
        return schema.PartitionData(
            partition_index=result.wanted.partition,
            error_code=result.error,
            high_watermark=-1,
            aborted_transactions=None,
            records=b"",
        )
    if version >= 5:
        fields["log_start_offset"] = fetched.log_start_offset
    if version >= 12 and fetched.diverging is not None:
        fields["diverging_epoch"] = schema.EpochEndOffset(
            epoch=fetched.diverging.epoch, end_offset=fetched.diverging.end_offset
        )
    aborted = None
    if fetched.aborted is not None:
        aborted = tuple(
            schema.AbortedTransaction(producer_id=a.producer_id, first_offset=a.first_offset)
            for a in fetched.aborted
        )
    return schema.PartitionData(
        partition_index=result.wanted.partition,
        error_code=ErrorCode.none,
        high_watermark=fetched.high_watermark,
        last_stable_offset=fetched.last_stable_offset,
        aborted_transactions=aborted,
        records=fetched.records,
        **fields,
    )
