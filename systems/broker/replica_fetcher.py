"""Replication: one fetch loop for each broker that leads partitions which we follow (semantics 2.1 rule 4)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from kio.schema.errors import ErrorCode
from kio.schema.fetch.v16.request import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ForgottenTopic,
    ReplicaState,
)

from systems.broker import messages
from systems.broker.context import Broker
from systems.broker.follower import FetchPosition, Follower
from systems.broker.log.batch import CorruptBatch
from systems.broker.log.leader_epochs import EpochEnd

log = logging.getLogger(__name__)

LIST_OFFSETS = 2
LATEST = -1
IDLE_S = 60.0


class FetchLimits(NamedTuple):
    """Kafka's `replica.fetch.*` keys."""

    wait_max_ms: int
    min_bytes: int
    max_bytes: int
    response_max_bytes: int
    backoff_s: float
    timeout_ms: int


class _Session:
    """Our side of the fetch session (KIP-227): what the leader knows that we want."""

    def __init__(self) -> None:
        self.id = 0
        self.epoch = 0
        self.told: dict[tuple[bytes, int], FetchPosition | None] = {}
        """None: part of the session, but to be told again."""

    def continue_as(self, session_id: int) -> None:
        """After an answer. A leader that grants no session is told everything again."""
        self.id = session_id
        self.epoch = self.epoch + 1 if session_id else 0
        if not session_id:
            self.told.clear()


class ReplicaFetcher:
    """Fetches from one leader for all partitions that follow it, one request at a time, on a connection of
    its own."""

    def __init__(self, broker: Broker, leader_id: int, limits: FetchLimits) -> None:
        self._broker = broker
        self._leader_id = leader_id
        self._limits = limits
        self._channel = broker.channel(leader_id, f"fetcher-{leader_id}")
        self._followers: dict[str, Follower] = {}
        self._changed = asyncio.Event()
        self._session = _Session()

    def add(self, follower: Follower) -> None:
        self._followers[follower.partition.name] = follower
        self._changed.set()

    def remove(self, name: str) -> None:
        self._followers.pop(name, None)

    async def run(self) -> None:
        while True:
            asked = self._due()
            if not asked:
                await self._until_due()
                continue
            try:
                response = await self._channel.call(self._request(asked), timeout_ms=self._limits.timeout_ms)
            except (OSError, TimeoutError):
                self._session = _Session()
                await asyncio.sleep(self._limits.backoff_s)
                continue
            await self._on_response(response, asked)

    def _due(self) -> list[tuple[Follower, FetchPosition]]:
        now = asyncio.get_running_loop().time()
        return [(f, f.position) for f in self._followers.values() if f.active and f.not_before <= now]

    async def _until_due(self) -> None:
        now = asyncio.get_running_loop().time()
        waits = [f.not_before - now for f in self._followers.values() if f.active]
        self._changed.clear()
        try:
            async with asyncio.timeout(max(min(waits, default=IDLE_S), 0.001)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _request(self, asked: list[tuple[Follower, FetchPosition]]) -> FetchRequest:
        limits = self._limits
        cast: Any = lambda value: value  # noqa: E731 - kio's narrow ints are plain ints at run time
        session = self._session
        topics: dict[bytes, list[FetchPartition]] = {}
        for follower, position in asked:
            key = (follower.partition.topic_id, follower.partition.index)
            if session.told.get(key) == position:
                continue
            session.told[key] = position
            topics.setdefault(follower.partition.topic_id, []).append(
                FetchPartition(
                    partition=cast(follower.partition.index),
                    current_leader_epoch=cast(position.leader_epoch),
                    fetch_offset=cast(position.fetch_offset),
                    last_fetched_epoch=cast(position.last_fetched_epoch),
                    log_start_offset=cast(follower.partition.log.start_offset),
                    partition_max_bytes=cast(limits.max_bytes),
                )
            )
        return FetchRequest(
            replica_state=ReplicaState(
                replica_id=cast(self._broker.env.id), replica_epoch=cast(self._broker.epoch)
            ),
            max_wait=messages.milliseconds(limits.wait_max_ms),
            min_bytes=cast(limits.min_bytes),
            max_bytes=cast(limits.response_max_bytes),
            topics=tuple(
                FetchTopic(topic_id=uuid.UUID(bytes=topic_id), partitions=tuple(partitions))
                for topic_id, partitions in topics.items()
            ),
            session_id=cast(session.id),
            session_epoch=cast(session.epoch),
            forgotten_topics_data=self._forgotten(asked),
        )

    def _forgotten(self, asked: list[tuple[Follower, FetchPosition]]) -> tuple[ForgottenTopic, ...]:
        """What the session still holds and we no longer follow, or leave out for a while."""
        cast: Any = lambda value: value  # noqa: E731
        due = {(f.partition.topic_id, f.partition.index) for f, _ in asked}
        gone: dict[bytes, list[int]] = {}
        for key in [key for key in self._session.told if key not in due]:
            del self._session.told[key]
            gone.setdefault(key[0], []).append(key[1])
        return tuple(
            ForgottenTopic(topic_id=uuid.UUID(bytes=topic_id), partitions=cast(tuple(partitions)))
            for topic_id, partitions in gone.items()
        )

    async def _on_response(self, response: Any, asked: list[tuple[Follower, FetchPosition]]) -> None:
        positions = {(f.partition.topic_id, f.partition.index): (f, position) for f, position in asked}
        if response.error_code != ErrorCode.none:
            # The leader has restarted, or missed a request of ours: begin again with a full one.
            self._session = _Session()
            await asyncio.sleep(self._limits.backoff_s)
            return
        self._session.continue_as(response.session_id)
        for topic in response.responses:
            for data in topic.partitions:
                entry = positions.get((topic.topic_id.bytes, data.partition_index))
                if entry is not None:
                    await self._on_partition(*entry, data)

    async def _on_partition(self, follower: Follower, asked: FetchPosition, data: Any) -> None:
        if data.error_code == ErrorCode.none:
            if data.diverging_epoch.end_offset >= 0:
                follower.on_divergence(
                    asked, EpochEnd(data.diverging_epoch.epoch, data.diverging_epoch.end_offset)
                )
                return
            await self._append(follower, asked, data)
        elif data.error_code == ErrorCode.offset_out_of_range:
            await self._on_out_of_range(follower, asked)
        else:
            # A leader that does not know (yet), or a newer epoch that we do not: metadata will tell.
            self._back_off(follower)

    async def _append(self, follower: Follower, asked: FetchPosition, data: Any) -> None:
        try:
            follower.on_records(asked, data.records or b"", data.high_watermark)
        except (CorruptBatch, OSError) as error:
            log.warning("%s: fetch from %d: %s", follower.partition.name, self._leader_id, error)
            self._back_off(follower)
            return
        if not follower.partition.log.is_durable:
            # The next fetch acknowledges what we hold: with `log.flush.interval.messages=1` only what an
            # fsync has covered.
            await follower.partition.log.flush()

    async def _on_out_of_range(self, follower: Follower, asked: FetchPosition) -> None:
        request = messages.request(
            LIST_OFFSETS,
            7,
            replica_id=self._broker.env.id,
            isolation_level=0,
            topics=[
                {
                    "name": follower.partition.topic,
                    "partitions": [
                        {
                            "partition_index": follower.partition.index,
                            "current_leader_epoch": asked.leader_epoch,
                            "timestamp": LATEST,
                        }
                    ],
                }
            ],
        )
        try:
            response = await self._channel.call(request, timeout_ms=self._limits.timeout_ms)
        except (OSError, TimeoutError):
            self._back_off(follower)
            return
        (found,) = response.topics[0].partitions
        if found.error_code == ErrorCode.none:
            follower.on_out_of_range(asked, found.offset)
        else:
            self._back_off(follower)

    def _back_off(self, follower: Follower) -> None:
        key = (follower.partition.topic_id, follower.partition.index)
        if key in self._session.told:
            self._session.told[key] = None
        follower.not_before = asyncio.get_running_loop().time() + self._limits.backoff_s


class ReplicaFetchers:
    """The fetch loops of one broker."""

    def __init__(
        self, broker: Broker, limits: FetchLimits, spawn: Callable[[Any, str], asyncio.Task[None]]
    ) -> None:
        self._broker = broker
        self._limits = limits
        self._spawn = spawn
        self._fetchers: dict[int, ReplicaFetcher] = {}

    def follow(self, follower: Follower) -> None:
        fetcher = self._fetchers.get(follower.leader_id)
        if fetcher is None:
            fetcher = ReplicaFetcher(self._broker, follower.leader_id, self._limits)
            self._fetchers[follower.leader_id] = fetcher
            self._spawn(fetcher.run(), f"replica-fetcher-{follower.leader_id}")
        self.unfollow(follower.partition.name)
        fetcher.add(follower)

    def unfollow(self, name: str) -> None:
        for fetcher in self._fetchers.values():
            fetcher.remove(name)


def fetch_limits(config: Any) -> FetchLimits:
    wait_max_ms = int(config.get("replica.fetch.wait.max.ms", 500))
    return FetchLimits(
        wait_max_ms=wait_max_ms,
        min_bytes=int(config.get("replica.fetch.min.bytes", 1)),
        max_bytes=int(config.get("replica.fetch.max.bytes", 1 << 20)),
        response_max_bytes=int(config.get("replica.fetch.response.max.bytes", 10 << 20)),
        backoff_s=int(config.get("replica.fetch.backoff.ms", 100)) / 1000,
        timeout_ms=wait_max_ms + int(config.get("replica.socket.timeout.ms", 2000)),
    )
