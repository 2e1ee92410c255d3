"""The in-sync replica set as its leader sees it (semantics 2.1 rules 5, 7 and 8): plain data and pure rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec


class Isr(msgspec.Struct, frozen=True):
    """`committed` is what the controller has confirmed as of `partition_epoch`; `pending` what this leader
    has proposed since and has no certain answer for."""

    committed: tuple[int, ...]
    partition_epoch: int
    pending: tuple[int, ...] | None = None

    @property
    def maximal(self) -> tuple[int, ...]:
        """ISR ∪ pending ISR (rule 5): everybody whom the controller may hold electable. Sorted."""
        if self.pending is None:
            return self.committed
        return tuple(sorted({*self.committed, *self.pending}))

    def proposing(self, members: Sequence[int]) -> Isr:
        """One pending change at a time (rule 7)."""
        if self.pending is not None:
            raise AssertionError(f"a change to {self.pending} is already pending")
        return Isr(self.committed, self.partition_epoch, tuple(sorted(members)))

    def withdrawn(self) -> Isr:
        """After an answer that certainly did not apply the proposal."""
        return Isr(self.committed, self.partition_epoch)

    def confirmed(self, members: Sequence[int], partition_epoch: int) -> Isr:
        """What the controller says, if it is newer than what is known (rule 8)."""
        if partition_epoch <= self.partition_epoch:
            return self
        return Isr(tuple(sorted(members)), partition_epoch)


@dataclass(slots=True)
class FollowerProgress:
    """What a leader knows of one follower in its own epoch only (rule 2). `end_offset` is -1 until the
    follower's first valid fetch in this epoch."""

    end_offset: int = -1
    broker_epoch: int = -1
    log_start_offset: int = -1
    last_caught_up: float = 0.0
    _last_fetch: float = field(default=0.0)
    _leader_end_at_last_fetch: int = field(default=-1)

    def on_fetch(self, fetch_offset: int, broker_epoch: int, leader_end: int, now: float) -> None:
        """A fetch that did not diverge: the follower holds everything below `fetch_offset`.

        It was caught up *now* if it has reached our end, and at its previous fetch if it has reached what
        was our end then: a follower that keeps pace with a moving leader never lags.
        """
        if fetch_offset >= leader_end:
            self.last_caught_up = max(self.last_caught_up, now)
        elif fetch_offset >= self._leader_end_at_last_fetch:
            self.last_caught_up = max(self.last_caught_up, self._last_fetch)
        self._last_fetch = now
        self._leader_end_at_last_fetch = leader_end
        self.end_offset = fetch_offset
        self.broker_epoch = broker_epoch

    def on_silent_fetch(self, now: float) -> None:
        """The latest fetch of a session in which this partition rested: nothing had changed since the last
        one that spoke of it, when the follower had reached our end."""
        self.last_caught_up = max(self.last_caught_up, now)
        self._last_fetch = max(self._last_fetch, now)


def high_watermark(
    members: Sequence[int], leader: int, leader_end: int, followers: Mapping[int, FollowerProgress]
) -> int:
    """Rule 5: the smallest end of log over the members; -1 while one of them was not seen in this epoch."""
    lowest = leader_end
    for member in members:
        if member != leader:
            progress = followers.get(member)
            if progress is None:
                return -1
            if progress.end_offset < lowest:
                lowest = progress.end_offset
    return lowest


def lagging(
    members: Sequence[int],
    leader: int,
    leader_end: int,
    followers: Mapping[int, FollowerProgress],
    now: float,
    lag_time: float,
) -> tuple[int, ...]:
    """Rule 7: members that have neither our end of log nor had it within the lag time."""
    late = []
    for member in members:
        progress = followers.get(member)
        if member == leader or progress is None or progress.end_offset >= leader_end:
            continue
        if now - progress.last_caught_up > lag_time:
            late.append(member)
    return tuple(late)


def may_join(
    progress: FollowerProgress, high_watermark: int, epoch_start: int, registered_epoch: int | None
) -> bool:
    """Rule 7: (a) it fetched in this epoch, (b) its log reaches max(HW, start of the leader's epoch),
    (c) it is the incarnation that is registered and in service (`registered_epoch`, None if it is not)."""
    if progress.end_offset < 0 or progress.end_offset < max(high_watermark, epoch_start):
        return False
    return registered_epoch is not None and progress.broker_epoch == registered_epoch
