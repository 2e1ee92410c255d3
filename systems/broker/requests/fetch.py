"""Fetch: followers replicate and consumers read with it (semantics 2.1 rules 4 and 6, 2.4.6)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.fetching import Fetched
from systems.broker.leader import Leader
from systems.broker.quotas.throttling import Quotas
from systems.broker.replicas import ReplicaManager
from systems.broker.requests import fetch_encoding
from systems.broker.requests.fetch_encoding import FETCH, TOPIC_IDS_VERSION
from systems.broker.requests.fetch_sessions import (
    FINAL_EPOCH,
    INITIAL_EPOCH,
    NO_SESSION,
    FetchSession,
    FetchSessions,
)
from systems.broker.server import Throttled
from systems.broker.wire import Encoded, Streamed

VERSIONS = range(4, 18)
READ_COMMITTED = 1
_NO_ERROR = ErrorCode.none.value

_Key = tuple[str | bytes, int]
"""A partition as the request names it: by topic id, or by name in older versions."""
_NO_TOPIC_ID = bytes(16)


class _Wanted(NamedTuple):
    """One partition of a request, in the terms of every version."""

    topic: str | bytes
    partition: int
    fetch_offset: int
    current_leader_epoch: int
    last_fetched_epoch: int
    max_bytes: int
    log_start_offset: int

    @property
    def key(self) -> _Key:
        return (self.topic, self.partition)


_Session = FetchSession[_Key, _Wanted]


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
    error: int
    leader: Leader | None = None


class Fetch:
    """Sessions (KIP-227) are granted to followers only: for a consumer the session id in every answer is 0,
    and it falls back to full requests."""

    def __init__(self, broker: Broker, replicas: ReplicaManager, quotas: Quotas) -> None:
        self._broker = broker
        self._replicas = replicas
        self._quotas = quotas
        self._sessions: FetchSessions[_Key, _Wanted] = FetchSessions(broker.env.random)

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {FETCH: (VERSIONS, self.on_fetch)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_fetch(self, context: RequestContext, request: Any) -> Any:
        version = context.version
        fetcher = _fetcher(version, request)
        try:
            session = self._session(version, request, fetcher)
        except KafkaError as error:
            return fetch_encoding.response(version, error.code.value, NO_SESSION, {})
        wanted = self._wanted(version, request)
        if session is not None:
            return Throttled(await self._on_session_fetch(version, request, fetcher, session, wanted), 0)
        most = request.max_bytes
        if not fetcher.is_follower:
            most = min(most, self._quotas.fetch_limit(context))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + messages.in_milliseconds(request.max_wait) / 1000
        while True:
            results, size, urgent = self._read(wanted, fetcher, most)
            if size >= min(request.min_bytes, most) or urgent or loop.time() >= deadline:
                break
            await self._until_moved(results, fetcher, deadline)
        answer = _answer(version, NO_SESSION, results)
        if fetcher.is_follower:
            return Throttled(answer, 0)
        throttle_ms = self._quotas.on_fetch(context, answer.size)
        if throttle_ms:
            # The consumer asks again when the time is up.
            answer = _answer(version, NO_SESSION, [])
        return Throttled(answer, throttle_ms)

    async def _on_session_fetch(
        self, version: int, request: Any, fetcher: _Fetcher, session: _Session, changed: list[_Wanted]
    ) -> Any:
        session.update([(w.key, w) for w in changed], _forgotten(request))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + messages.in_milliseconds(request.max_wait) / 1000
        while True:
            self._check_incarnation(session, fetcher)
            session.last_fetch = loop.time()
            wanted = [partition.wanted for partition in session.stirred.values()]
            results, size, urgent = self._read(wanted, fetcher, request.max_bytes)
            self._watch(session, results)
            if size >= request.min_bytes or urgent or loop.time() >= deadline:
                break
            await session.wait(deadline)
        said = results
        if request.session_epoch != INITIAL_EPOCH:
            said = [result for result in results if _is_news(session, result)]
        for result in said:
            if result.fetched is not None:
                session.partitions[result.wanted.key].told = _offsets(result.fetched)
        _let_rest(session, results)
        return _answer(version, session.id, said)

    def _check_incarnation(self, session: _Session, fetcher: _Fetcher) -> None:
        """A fetch of another incarnation than the session's, or than the one registered by now, is looked
        at by every partition."""
        registered = self._replicas.registration(fetcher.replica)
        stale = registered is not None and fetcher.broker_epoch < registered.epoch
        if stale or session.broker_epoch != fetcher.broker_epoch:
            session.broker_epoch = fetcher.broker_epoch
            session.stir_all()

    def _watch(self, session: _Session, results: list[_Result]) -> None:
        for result in results:
            if result.leader is not None:
                session.partitions[result.wanted.key].watch(result.leader.partition)

    def _session(self, version: int, request: Any, fetcher: _Fetcher) -> _Session | None:
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
            # An id's name is looked up at each read: a session may begin before we know the topic.
            named = _id(topic.topic_id) if version >= TOPIC_IDS_VERSION else topic.topic
            for part in topic.partitions:
                wanted.append(
                    _Wanted(
                        named,
                        part.partition,
                        part.fetch_offset,
                        part.current_leader_epoch if version >= 9 else -1,
                        part.last_fetched_epoch if version >= 12 else -1,
                        part.partition_max_bytes,
                        part.log_start_offset if version >= 5 else -1,
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
                results.append(_Result(one, None, error.code.value))
                urgent = True
                continue
            size += len(fetched.records)
            urgent = urgent or fetched.diverging is not None
            results.append(_Result(one, fetched, _NO_ERROR, leader))
        return results, size, urgent

    def _read_one(
        self, leader: Leader, one: _Wanted, fetcher: _Fetcher, budget: int, *, may_exceed: bool
    ) -> Fetched:
        leader.check_epoch(one.current_leader_epoch)
        if fetcher.is_follower:
            fetched = leader.fetch_for_follower(
                fetcher.replica,
                fetcher.broker_epoch,
                one.fetch_offset,
                leader.compared_epoch(one.current_leader_epoch, one.last_fetched_epoch),
                budget,
                one.log_start_offset,
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
        if isinstance(topic, bytes):
            name = self._replicas.topic_name(topic)
            if name is None:
                raise KafkaError(ErrorCode.unknown_topic_id, topic.hex())
            topic = name
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
        (_id(topic.topic_id) if hasattr(topic, "topic_id") else topic.topic, partition)
        for topic in request.forgotten_topics_data
        for partition in topic.partitions
    ]


def _id(topic_id: uuid.UUID | None) -> bytes:
    return _NO_TOPIC_ID if topic_id is None else topic_id.bytes


def _is_news(session: _Session, result: _Result) -> bool:
    """Records, an error, a divergence, or other offsets than the follower was last told."""
    fetched = result.fetched
    if fetched is None or fetched.records or fetched.diverging is not None:
        return True
    return session.partitions[result.wanted.key].told != _offsets(fetched)


def _offsets(fetched: Fetched) -> tuple[int, int]:
    return (fetched.high_watermark, fetched.log_start_offset)


def _let_rest(session: _Session, results: list[_Result]) -> None:
    """What was read and told, and has nothing more to say, is not looked at before it moves."""
    for result in results:
        fetched, leader = result.fetched, result.leader
        if fetched is None or leader is None or fetched.records or fetched.diverging is not None:
            continue
        progress = leader.resting(session.owner)
        if progress is not None:
            session.partitions[result.wanted.key].rest(progress)


def _wake(moved: asyncio.Future[None]) -> None:
    if not moved.done():
        moved.set_result(None)


def _fetcher(version: int, request: Any) -> _Fetcher:
    if version >= 15:
        replica, epoch = request.replica_state.replica_id, request.replica_state.replica_epoch
    else:
        replica, epoch = request.replica_id, -1
    return _Fetcher(replica, epoch, request.isolation_level == READ_COMMITTED)


def _answer(version: int, session_id: int, results: list[_Result]) -> Encoded | Streamed:
    topics: dict[str | bytes, list[fetch_encoding.Answer]] = {}
    for wanted, fetched, error, _ in results:
        topics.setdefault(wanted.topic, []).append((wanted.partition, error, fetched))
    return fetch_encoding.response(version, _NO_ERROR, session_id, topics)
