"""How long a member of a consumer group may be silent, and how long it may take to give up partitions (KIP-848)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from systems.broker.groups.consumer_protocol.state import (
    LEFT_FOR_A_WHILE,
    ConsumerMember,
    MemberState,
)
from systems.broker.groups.shard import GroupShard

IsOver = Callable[[ConsumerMember], bool]
"""Whether it is still so, asked when it is the group's turn to change."""
Expel = Callable[[GroupShard, str, str, IsOver], None]
Key = tuple[str, str]
"""Group and member."""


class _Revocation(NamedTuple):
    epoch: int
    timer: asyncio.TimerHandle


class Clocks:
    """A session for every member, and a second clock for who has to give something up."""

    def __init__(self, session_s: float, expel: Expel) -> None:
        """`expel` is told (shard, group, member, whether it is still so) of who has been silent, or slow, for too long."""
        self._session_s = session_s
        self._expel = expel
        self._sessions: dict[Key, asyncio.TimerHandle] = {}
        self._revocations: dict[Key, _Revocation] = {}

    def heard(self, shard: GroupShard, group_id: str, member: ConsumerMember) -> None:
        """Of a member that has left for a while nothing is heard: its session goes on."""
        loop, key = asyncio.get_running_loop(), (group_id, member.id)
        running = self._sessions.get(key)
        if running is None or member.epoch != LEFT_FOR_A_WHILE:
            if running is not None:
                running.cancel()
            self._sessions[key] = loop.call_later(self._session_s, self._session_ends, shard, key)
        self._watch_revocation(shard, key, member)

    def gone(self, group_id: str, member_id: str) -> None:
        session = self._sessions.pop((group_id, member_id), None)
        if session is not None:
            session.cancel()
        self._stop_watching((group_id, member_id))

    def stop(self, group_id: str) -> None:
        """This broker coordinates the group no longer."""
        for group, member in [key for key in (*self._sessions, *self._revocations) if key[0] == group_id]:
            self.gone(group, member)

    def _watch_revocation(self, shard: GroupShard, key: Key, member: ConsumerMember) -> None:
        """Counted from when it was told, whatever it says meanwhile."""
        known = self._revocations.get(key)
        revokes = member.state is MemberState.UNREVOKED_PARTITIONS and member.epoch != LEFT_FOR_A_WHILE
        if known is not None and revokes and known.epoch == member.epoch:
            return
        self._stop_watching(key)
        if revokes:
            timer = asyncio.get_running_loop().call_later(
                member.rebalance_timeout_ms / 1_000, self._revocation_ends, shard, key, member.epoch
            )
            self._revocations[key] = _Revocation(member.epoch, timer)

    def _stop_watching(self, key: Key) -> None:
        revocation = self._revocations.pop(key, None)
        if revocation is not None:
            revocation.timer.cancel()

    def _session_ends(self, shard: GroupShard, key: Key) -> None:
        del self._sessions[key]
        self._expel(shard, *key, lambda member: key not in self._sessions)

    def _revocation_ends(self, shard: GroupShard, key: Key, epoch: int) -> None:
        del self._revocations[key]
        self._expel(
            shard,
            *key,
            lambda member: member.state is MemberState.UNREVOKED_PARTITIONS and member.epoch == epoch,
        )
