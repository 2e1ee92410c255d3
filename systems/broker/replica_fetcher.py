"""Replication: one fetch loop for each broker that leads partitions which we follow (semantics 2.1 rule 4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker
from systems.broker.follower import FetchPosition, Follower
from systems.broker.log.batch import CorruptBatch
from systems.broker.log.leader_epochs import EpochEnd
from systems.broker.requests import fetch_encoding

log = logging.getLogger(__name__)

LIST_OFFSETS = 2
LATEST = -1
EARLIEST = -2
IDLE_S = 60.0


class FetchLimits(NamedTuple):
    """Kafka's `replica.fetch.*` keys."""

    wait_max_ms: int
    min_bytes: int
    max_bytes: int
    response_max_bytes: int
    backoff_s: float
    timeout_ms: int


_Key = tuple[bytes, int]
"""Topic id and partition."""


class _Told(NamedTuple):
    """What the leader knows that we want."""

    follower: Follower
    position: FetchPosition
    log_start_offset: int


class _Session:
    """Our side of the fetch session (KIP-227)."""

    def __init__(self) -> None:
        self.id = 0
        self.epoch = 0
        self.told: dict[_Key, _Told] = {}


class ReplicaFetcher:
    """Fetches from one leader for all partitions that follow it, one request at a time, on a connection of
    its own."""

    def __init__(self, broker: Broker, leader_id: int, limits: FetchLimits) -> None:
        self._broker = broker
        self._leader_id = leader_id
        self._limits = limits
        self._channel = broker.channel(leader_id, f"fetcher-{leader_id}")
        self._followers: dict[str, Follower] = {}
        self._news: dict[str, Follower] = {}
        """Those of whom the leader is to be told, because they are new or have moved."""
        self._backing_off: dict[str, Follower] = {}
        self._forgotten: dict[_Key, None] = {}
        self._changed = asyncio.Event()
        self._session = _Session()

    def add(self, follower: Follower) -> None:
        self._followers[follower.partition.name] = follower
        self._news[follower.partition.name] = follower
        self._changed.set()

    def remove(self, name: str) -> None:
        follower = self._followers.pop(name, None)
        if follower is not None:
            self._leave_out(follower)
            self._backing_off.pop(name, None)

    async def run(self) -> None:
        while True:
            self._end_backing_off()
            if len(self._followers) == len(self._backing_off):
                await self._until_due()
                continue
            try:
                response = await self._channel.call(self._request(), timeout_ms=self._limits.timeout_ms)
            except (OSError, TimeoutError):
                await self._begin_again()
                continue
            await self._on_response(response)

    async def _begin_again(self) -> None:
        """With a session of its own, in which the leader is told of everything."""
        self._session = _Session()
        self._forgotten.clear()
        self._news = {n: f for n, f in self._followers.items() if n not in self._backing_off}
        await asyncio.sleep(self._limits.backoff_s)

    def _end_backing_off(self) -> None:
        if self._backing_off:
            now = asyncio.get_running_loop().time()
            for name, follower in list(self._backing_off.items()):
                if follower.not_before <= now:
                    del self._backing_off[name]
                    self._news[name] = follower

    async def _until_due(self) -> None:
        now = asyncio.get_running_loop().time()
        waits = [follower.not_before - now for follower in self._backing_off.values()]
        self._changed.clear()
        try:
            async with asyncio.timeout(max(min(waits, default=IDLE_S), 0.001)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _request(self) -> Any:
        limits, session = self._limits, self._session
        wanted: dict[bytes, list[tuple[int, FetchPosition, int]]] = {}
        for follower in self._news.values():
            partition, position = follower.partition, follower.position
            key = (partition.topic_id, partition.index)
            self._forgotten.pop(key, None)
            known = session.told.get(key)
            start = partition.log.start_offset
            session.told[key] = _Told(follower, position, start)
            if known is None or known.position != position or known.log_start_offset != start:
                entry = (partition.index, position, start)
                wanted.setdefault(partition.topic_id, []).append(entry)
        self._news.clear()
        forgotten: dict[bytes, list[int]] = {}
        for topic_id, index in self._forgotten:
            forgotten.setdefault(topic_id, []).append(index)
        self._forgotten.clear()
        return fetch_encoding.follower_request(
            replica=self._broker.env.id,
            broker_epoch=self._broker.epoch,
            max_wait_ms=limits.wait_max_ms,
            min_bytes=limits.min_bytes,
            max_bytes=limits.response_max_bytes,
            partition_max_bytes=limits.max_bytes,
            session_id=session.id,
            session_epoch=session.epoch,
            wanted=wanted,
            forgotten=forgotten,
        )

    async def _on_response(self, response: Any) -> None:
        session = self._session
        if response.error_code != ErrorCode.none:
            # The leader has restarted, or missed a request of ours.
            await self._begin_again()
            return
        answered = [
            (session.told.get((topic.topic_id.bytes, data.partition_index)), data)
            for topic in response.responses
            for data in topic.partitions
        ]
        session.id = response.session_id
        session.epoch += 1
        if not session.id:
            # A leader that grants no session is told everything again.
            self._session = _Session()
            self._news = {n: f for n, f in self._followers.items() if n not in self._backing_off}
        for told, data in answered:
            if told is not None:
                await self._on_partition(told.follower, told.position, data)
                self._note_move(told)

    def _note_move(self, told: _Told) -> None:
        name = told.follower.partition.name
        present = self._followers.get(name) is told.follower and name not in self._backing_off
        moved = (
            not told.follower.is_at(told.position)
            or told.follower.partition.log.start_offset != told.log_start_offset
        )
        if present and moved:
            self._news[name] = told.follower

    def _leave_out(self, follower: Follower) -> None:
        """The leader is to forget the partition, as far as it knows of it."""
        key = (follower.partition.topic_id, follower.partition.index)
        self._news.pop(follower.partition.name, None)
        if key not in self._session.told:
            return
        self._forgotten[key] = None
        if "stale-fetch-response-applied" not in self._broker.env.bugs:
            # What is under way for it has nobody to go to any more.
            del self._session.told[key]

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
            follower.on_records(asked, data.records or b"", data.high_watermark, data.log_start_offset)
        except (CorruptBatch, OSError) as error:
            log.warning("%s: fetch from %d: %s", follower.partition.name, self._leader_id, error)
            self._back_off(follower)
            return
        if not follower.partition.log.is_durable:
            # The next fetch acknowledges what we hold: with `log.flush.interval.messages=1` only what an
            # fsync has covered.
            await follower.partition.log.flush()

    async def _on_out_of_range(self, follower: Follower, asked: FetchPosition) -> None:
        """Our end is above the leader's, or below its beginning."""
        end = await self._ask_offset(follower, asked, LATEST)
        if end is not None and end < asked.fetch_offset:
            follower.on_out_of_range(asked, end)
            return
        start = await self._ask_offset(follower, asked, EARLIEST) if end is not None else None
        if start is not None:
            follower.on_later_start(asked, start)
        else:
            self._back_off(follower)

    async def _ask_offset(self, follower: Follower, asked: FetchPosition, timestamp: int) -> int | None:
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
                            "timestamp": timestamp,
                        }
                    ],
                }
            ],
        )
        try:
            response = await self._channel.call(request, timeout_ms=self._limits.timeout_ms)
        except (OSError, TimeoutError):
            return None
        (found,) = response.topics[0].partitions
        return int(found.offset) if found.error_code == ErrorCode.none else None

    def _back_off(self, follower: Follower) -> None:
        name = follower.partition.name
        if self._followers.get(name) is follower:
            follower.not_before = asyncio.get_running_loop().time() + self._limits.backoff_s
            self._leave_out(follower)
            self._backing_off[name] = follower


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
