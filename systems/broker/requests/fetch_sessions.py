"""Incremental fetch sessions of followers (KIP-227): both sides speak only of partitions that have news.

A follower of a dozen partitions, one of which moves, would otherwise name all of them in every request
and hear of all of them in every answer.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError

NO_SESSION = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FetchSession(Generic[K, V]):
    """What one follower wants from this broker, in the order it named it, and what it was last told."""

    def __init__(self, session_id: int, owner: int) -> None:
        self.id = session_id
        self.owner = owner
        self.next_epoch = INITIAL_EPOCH + 1
        self.wanted: dict[K, V] = {}
        self.told: dict[K, tuple[int, int]] = {}
        """Partition -> (high watermark, log start offset) of the last answer."""

    def update(self, changed: Iterable[tuple[K, V]], forgotten: Iterable[K]) -> None:
        for key in forgotten:
            self.wanted.pop(key, None)
            self.told.pop(key, None)
        self.wanted.update(changed)


class FetchSessions(Generic[K, V]):
    """At most one session for each follower; consumers get none."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._by_owner: dict[int, FetchSession[K, V]] = {}

    def begin(self, owner: int) -> FetchSession[K, V]:
        """A full fetch: whatever session the follower had is over. Ids are drawn, so that a session of this
        broker's earlier life is not taken for one of now."""
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
