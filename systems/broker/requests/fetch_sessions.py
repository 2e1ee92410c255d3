"""Incremental fetch sessions of followers (KIP-227): both sides speak only of partitions that have news.

A follower of a dozen partitions, one of which moves, would otherwise name all of them in every request
and hear of all of them in every answer. And of the partitions of a session only those are *looked at*
that may have something to say: a partition in which the follower has everything, is in sync and was told
so rests until it is stirred.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.isr import FollowerProgress
from systems.broker.partition import Partition

NO_SESSION = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FetchSession(Generic[K, V]):
    """What one follower wants from this broker, and what it was last told."""

    def __init__(self, session_id: int, owner: int) -> None:
        self.id = session_id
        self.owner = owner
        self.next_epoch = INITIAL_EPOCH + 1
        self.partitions: dict[K, SessionPartition[K, V]] = {}
        self.stirred: dict[K, SessionPartition[K, V]] = {}
        """Those that the next read looks at, in the order in which they were stirred."""
        self.last_fetch = 0.0
        self.broker_epoch = -1
        self._moved: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def update(self, changed: Iterable[tuple[K, V]], forgotten: Iterable[K]) -> None:
        for key in forgotten:
            gone = self.partitions.pop(key, None)
            if gone is not None:
                gone.leave()
        for key, wanted in changed:
            known = self.partitions.get(key)
            if known is None:
                known = self.partitions[key] = SessionPartition(self, key, wanted)
            else:
                known.wanted = wanted
            known.stir()

    def stir_all(self) -> None:
        for partition in self.partitions.values():
            partition.stir()

    def wait(self, deadline: float) -> asyncio.Future[None]:
        """Done when a partition of the session moves, and at the deadline."""
        self.wake()
        self._moved = asyncio.get_running_loop().create_future()
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer()
        return self._moved

    def _set_timer(self) -> None:
        """One for the session, not one for each request: it looks when it fires what it is still about."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._moved is None or self._moved.done():
            return
        if asyncio.get_running_loop().time() >= self._deadline:
            self.wake()
        else:
            self._set_timer()

    def wake(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    def end(self) -> None:
        for partition in self.partitions.values():
            partition.leave()
        self.partitions.clear()
        self.stirred.clear()


class SessionPartition(Generic[K, V]):
    """One partition of a session. Stirred by an append, a new high watermark, another ISR and a change of
    role; a resting partition is one that the follower has whole."""

    __slots__ = ("_partition", "_resting", "_session", "key", "told", "wanted")

    def __init__(self, session: FetchSession[K, V], key: K, wanted: V) -> None:
        self._session = session
        self._partition: Partition | None = None
        self._resting: FollowerProgress | None = None
        self.key = key
        self.wanted = wanted
        self.told: tuple[int, int] | None = None
        """High watermark and log start offset of the last answer."""

    def watch(self, partition: Partition) -> None:
        """From now on the partition stirs this."""
        if self._partition is None:
            self._partition = partition
            partition.appended.join(self)

    def leave(self) -> None:
        self._session.stirred.pop(self.key, None)
        if self._partition is not None:
            self._partition.appended.leave(self)
            self._partition = None

    def rest(self, progress: FollowerProgress) -> None:
        self._resting = progress
        del self._session.stirred[self.key]

    def stir(self) -> None:
        progress = self._resting
        if progress is not None:
            # Every fetch of the session has been one of this partition too.
            progress.on_silent_fetch(self._session.last_fetch)
            self._resting = None
        self._session.stirred[self.key] = self

    def moved(self) -> None:
        self.stir()
        self._session.wake()


class FetchSessions(Generic[K, V]):
    """At most one session for each follower; consumers get none."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._by_owner: dict[int, FetchSession[K, V]] = {}

    def begin(self, owner: int) -> FetchSession[K, V]:
        """A full fetch: whatever session the follower had is over. Ids are drawn, so that a session of this
        broker's earlier life is not taken for one of now."""
        if owner in self._by_owner:
            self._by_owner[owner].end()
        session: FetchSession[K, V] = FetchSession(self._rng.randrange(1, 1 << 31), owner)
        self._by_owner[owner] = session
        return session

    def continue_(self, owner: int, session_id: int, epoch: int) -> FetchSession[K, V]:
        """The session of an incremental fetch. Raises `FETCH_SESSION_ID_NOT_FOUND` or
        `INVALID_FETCH_SESSION_EPOCH`; the follower then begins a new one."""
        session = self._by_owner.get(owner)
        if session is None or session.id != session_id:
            raise KafkaError(ErrorCode.fetch_session_id_not_found)
        if epoch != session.next_epoch:
            raise KafkaError(ErrorCode.invalid_fetch_session_epoch)
        session.next_epoch += 1
        return session
