"""Raft as a state machine without I/O: messages and ticks go in; messages, things to persist and commits come out.

Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), with pre-vote and
check-quorum (Ongaro's thesis, 9.6 and 6.2). Semantics 2.2. The owner
 - persists `take_unsaved()` in order and calls `saved`, and lets no request of `outbox` and no reply that
   came after a change leave the node before that change is durable;
 - calls `tick` at `deadline_ms` at the latest. Times are milliseconds of any monotonic clock.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from systems.raft.log import RaftLog
from systems.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    PeerReply,
    PeerRequest,
    Snapshot,
    SnapshotRequest,
    VoteReply,
    VoteRequest,
)
from systems.raft.voters import ChangeRefused, Voters

NOBODY = -1


class Role(enum.Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class RaftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`voters` are those of the empty log; none where this node is to be taught. `election_timeout_ms` is the least
    time without a leader before an election; each node draws from one to two times that. A leader steps down after
    `check_quorum_ms` without a majority."""

    id: int
    voters: tuple[int, ...]
    election_timeout_ms: float = 1000
    heartbeat_ms: float = 250
    check_quorum_ms: float = 2000
    entries_per_append: int = 64
    bugs: frozenset[str] = frozenset()


class SaveVote(NamedTuple):
    term: int
    voted_for: int


class SaveEntries(NamedTuple):
    """Replaces whatever was at `first_index` and beyond."""

    first_index: int
    entries: tuple[Entry, ...]


class SaveSnapshot(NamedTuple):
    """The log is now this snapshot and the entries that follow it."""

    snapshot: Snapshot
    entries: tuple[Entry, ...]


Change: TypeAlias = SaveVote | SaveEntries | SaveSnapshot


class SavePoint(NamedTuple):
    """How far a `take_unsaved` reached."""

    sequence: int
    last_index: int


class Persistent(NamedTuple):
    """What a node knows after a restart."""

    term: int = 0
    voted_for: int = NOBODY
    log: RaftLog | None = None


class _Progress:
    """What the leader knows of one follower."""

    def __init__(self, next_index: int, now_ms: float) -> None:
        self.next_index = next_index
        self.match_index = 0
        self.in_flight = False
        self.last_reply_ms = now_ms


class RaftCore:
    """One voter."""

    def __init__(
        self,
        config: RaftConfig,
        persistent: Persistent,
        rng: random.Random,
        now_ms: float,
        leader_entry: Callable[[int], bytes],
    ) -> None:
        """`leader_entry(term)` is the data of the entry with which this node opens that term."""
        self.config = config
        self.term = persistent.term
        self.voted_for = persistent.voted_for
        self.log = persistent.log or RaftLog()
        self.role = Role.FOLLOWER
        self.leader = NOBODY
        self.commit = self.log.snapshot.index
        self.persisted = self.log.last_index
        self.outbox: list[tuple[int, PeerRequest]] = []
        self._random = rng
        self._leader_entry = leader_entry
        self.voters = Voters(config.voters, self.log)
        self._learners: tuple[int, ...] = ()
        self._opening_index = 0
        self._unsaved: list[Change] = []
        self._sequence = 0
        self._last_truncation = 0
        self._votes: dict[int, bool] = {}
        self._progress: dict[int, _Progress] = {}
        self._leader_heard_ms = float("-inf")
        self._heartbeat_due_ms = now_ms
        self._reset_election_timer(now_ms)

    # What the owner asks and tells

    @property
    def is_leader(self) -> bool:
        return self.role is Role.LEADER

    @property
    def votes(self) -> bool:
        """Whether this node is a voter."""
        return self.config.id in self.voters.current

    @property
    def _majority(self) -> int:
        return self.voters.majority

    @property
    def _peers(self) -> tuple[int, ...]:
        return tuple(v for v in self.voters.current if v != self.config.id)

    @property
    def deadline_ms(self) -> float:
        """When `tick` has something to do."""
        return self._heartbeat_due_ms if self.is_leader else self._election_due_ms

    @property
    def sequence(self) -> int:
        """Number of the newest change; it must be durable before what follows from it may be said."""
        return self._sequence

    @property
    def has_unsaved(self) -> bool:
        return bool(self._unsaved)

    def take_unsaved(self) -> tuple[list[Change], SavePoint]:
        changes, self._unsaved = self._unsaved, []
        return changes, SavePoint(self._sequence, self.log.last_index)

    def saved(self, point: SavePoint) -> None:
        """Everything up to that point is durable: the leader counts its own copy only now."""
        if point.sequence >= self._last_truncation:
            self.persisted = max(self.persisted, min(point.last_index, self.log.last_index))
        self._advance_commit()

    def tick(self, now_ms: float) -> None:
        if self.is_leader:
            removed = not self.votes and self.voters.index <= self.commit
            if removed or not self._reaches_majority(now_ms):
                # Check-quorum: a leader that cannot commit must not look like one.
                self._become_follower(self.term, NOBODY, now_ms)
            elif now_ms >= self._heartbeat_due_ms:
                self._heartbeat_due_ms = now_ms + self.config.heartbeat_ms
                for peer in self._progress:
                    self._send_append(peer)
        elif now_ms >= self._election_due_ms:
            if self.votes:
                self._start_pre_vote(now_ms)
            else:
                self._reset_election_timer(now_ms)

    def propose(self, data: bytes) -> int:
        """Appends an entry as leader; returns its index. It is committed once `commit` reaches it while
        the entry there is still of this term."""
        if not self.is_leader:
            raise AssertionError("only a leader may propose")
        self._append_own(data)
        return self.log.last_index

    def learn(self, learners: tuple[int, ...], now_ms: float) -> None:
        """These get the log too, as long as this node leads; their copies count for nothing."""
        self._learners = tuple(node for node in learners if node not in self.voters.current)
        self._renew_progress(now_ms)

    def caught_up(self, peer: int) -> bool:
        """Whether that node has all that is committed."""
        return peer in self._progress and self._progress[peer].match_index >= self.commit

    def change_voters(self, voters: tuple[int, ...], now_ms: float) -> int:
        """Appends the entry that makes these the voters, as leader; returns its index. Raises `ChangeRefused`."""
        if not self.is_leader or self.commit < self._opening_index:
            raise ChangeRefused("no leader that has committed an entry of its term")
        if self.voters.index > self.commit:
            raise ChangeRefused("the change before is not committed")
        if len(set(voters) ^ set(self.voters.current)) != 1:
            raise ChangeRefused("one voter at a time is added or removed")
        self._append(self.log.last_index + 1, (Entry(self.term, b"", voters),))
        self._learners = tuple(node for node in self._learners if node not in voters)
        self._renew_progress(now_ms)
        self._send_to_idle()
        return self.log.last_index

    def _renew_progress(self, now_ms: float) -> None:
        known, fresh = self._progress, self.log.last_index + 1
        self._progress = {
            peer: known.get(peer) or _Progress(fresh, now_ms) for peer in (*self._peers, *self._learners)
        }

    def send_heartbeats(self, now_ms: float) -> None:
        """A round of heartbeats now instead of when the next one is due."""
        self._heartbeat_due_ms = now_ms
        self.tick(now_ms)

    def compact(self, snapshot: Snapshot) -> None:
        """Forgets what the snapshot covers; its index must be committed."""
        if snapshot.index > self.commit:
            raise AssertionError(f"snapshot at {snapshot.index} beyond the commit index {self.commit}")
        if snapshot.index > self.log.snapshot.index:
            self._compact_log(snapshot)
            self._change(SaveSnapshot(snapshot, self.log.after(snapshot.index, self.log.last_index)))

    def restore_commit(self, index: int) -> None:
        """After a restart: what was known to be committed before it."""
        self.commit = max(self.commit, min(index, self.log.last_index))

    # Requests

    def on_request(self, request: PeerRequest, now_ms: float) -> PeerReply:
        """The reply may leave only when everything up to `sequence` is durable."""
        match request:
            case VoteRequest():
                return self._on_vote(request, now_ms)
            case AppendRequest():
                return self._on_append(request, now_ms)
            case SnapshotRequest():
                return self._on_snapshot(request, now_ms)

    def _on_vote(self, request: VoteRequest, now_ms: float) -> VoteReply:
        """Semantics 2.2: one vote a term, and only for a log that is at least as up to date."""
        up_to_date = (request.last_term, request.last_index) >= (self.log.last_term, self.log.last_index)
        if request.pre:
            has_leader = self.is_leader or now_ms - self._leader_heard_ms < self.config.election_timeout_ms
            granted = up_to_date and request.term > self.term and not has_leader
        else:
            if request.term > self.term:
                self._become_follower(request.term, NOBODY, now_ms)
            free = self.voted_for in (NOBODY, request.source)
            granted = up_to_date and request.term == self.term and free
            if granted:
                self._become_follower(self.term, NOBODY, now_ms)
                self._vote_for(request.source)
        return VoteReply(self.config.id, self.term, request.term, request.pre, granted)

    def _on_append(self, request: AppendRequest, now_ms: float) -> AppendReply:
        if not self._follows(request.source, request.term, now_ms):
            return self._append_reply(success=False, index=0)
        previous, entries = request.previous_index, request.entries
        if previous < self.log.snapshot.index:
            # What the snapshot covers is committed, hence the same.
            entries = entries[self.log.snapshot.index - previous :]
            previous = min(self.log.snapshot.index, previous + len(request.entries))
        elif self.log.term_at(previous) != request.previous_term:
            return self._append_reply(success=False, index=self._retry_from(previous))
        for offset, entry in enumerate(entries):
            index = previous + 1 + offset
            known = self.log.term_at(index)
            if known == entry.term:
                continue
            if known is not None:
                self._truncate_from(index)
            self._append(index, entries[offset:])
            break
        last_new = previous + len(entries)
        self.commit = max(self.commit, min(request.commit, last_new))
        return self._append_reply(success=True, index=last_new)

    def _on_snapshot(self, request: SnapshotRequest, now_ms: float) -> AppendReply:
        if not self._follows(request.source, request.term, now_ms):
            return self._append_reply(success=False, index=0)
        snapshot = request.snapshot
        if snapshot.index > self.commit:
            self._compact_log(snapshot)
            self._change(SaveSnapshot(snapshot, self.log.after(snapshot.index, self.log.last_index)))
            self._last_truncation = self._sequence
            self.persisted = 0
            self.commit = snapshot.index
        return self._append_reply(success=True, index=snapshot.index)

    def _follows(self, source: int, term: int, now_ms: float) -> bool:
        """Accepts a leader of this term or a later one."""
        if term < self.term or (term == self.term and self.is_leader):
            return False
        if term > self.term or self.role is not Role.FOLLOWER:
            self._become_follower(term, source, now_ms)
        self.leader = source
        self._leader_heard_ms = now_ms
        self._reset_election_timer(now_ms)
        return True

    def _retry_from(self, previous: int) -> int:
        """Where a leader whose entry at `previous` does not match should try: before the conflicting term."""
        if previous > self.log.last_index:
            return self.log.last_index + 1
        return max(self.log.first_index_of_term_at(previous), self.commit + 1)

    def _append_reply(self, *, success: bool, index: int) -> AppendReply:
        return AppendReply(self.config.id, self.term, success, index)

    # Replies

    def on_reply(self, reply: PeerReply, now_ms: float) -> None:
        if reply.term > self.term:
            self._become_follower(reply.term, NOBODY, now_ms)
            return
        match reply:
            case VoteReply():
                self._on_vote_reply(reply, now_ms)
            case AppendReply():
                self._on_append_reply(reply, now_ms)

    def on_unreachable(self, peer: int) -> None:
        """A request to that peer got no reply: the next heartbeat tries again."""
        if peer in self._progress:
            self._progress[peer].in_flight = False

    def _on_vote_reply(self, reply: VoteReply, now_ms: float) -> None:
        if not reply.granted or reply.source not in self._peers:
            return
        if reply.pre and self.role is Role.PRE_CANDIDATE and reply.asked_term == self.term + 1:
            self._votes[reply.source] = True
            if len(self._votes) >= self._majority:
                self._start_election(now_ms)
        elif not reply.pre and self.role is Role.CANDIDATE and reply.asked_term == self.term:
            self._votes[reply.source] = True
            if len(self._votes) >= self._majority:
                self._become_leader(now_ms)

    def _on_append_reply(self, reply: AppendReply, now_ms: float) -> None:
        if not self.is_leader or reply.term != self.term or reply.source not in self._progress:
            return
        progress = self._progress[reply.source]
        progress.last_reply_ms = now_ms
        progress.in_flight = False
        if reply.success:
            progress.match_index = max(progress.match_index, reply.index)
            progress.next_index = progress.match_index + 1
            self._advance_commit()
            if progress.next_index <= self.log.last_index:
                self._send_append(reply.source)
        else:
            tried = progress.next_index
            progress.next_index = max(min(reply.index, tried - 1), progress.match_index + 1)
            if progress.next_index < tried:
                self._send_append(reply.source)

    def _advance_commit(self) -> None:
        """Semantics 2.2: counts copies only for entries of the current term; older ones follow along."""
        if not self.is_leader:
            return
        copies = sorted(
            (
                self.persisted if voter == self.config.id else self._progress[voter].match_index
                for voter in self.voters.current
            ),
            reverse=True,
        )
        index = min(copies[self._majority - 1], self.log.last_index)
        own_term = self.log.term_at(index) == self.term
        if index > self.commit and (own_term or "controller-commit-old-term-by-count" in self.config.bugs):
            self.commit = index

    # Elections

    def _start_pre_vote(self, now_ms: float) -> None:
        self.role = Role.PRE_CANDIDATE
        self.leader = NOBODY
        self._votes = {self.config.id: True}
        self._reset_election_timer(now_ms)
        if self._majority == 1:
            self._start_election(now_ms)
            return
        self._ask_for_votes(self.term + 1, pre=True)

    def _start_election(self, now_ms: float) -> None:
        self.role = Role.CANDIDATE
        self.term += 1
        self._votes = {self.config.id: True}
        self.voted_for = NOBODY
        self._vote_for(self.config.id)
        self._reset_election_timer(now_ms)
        if self._majority == 1:
            self._become_leader(now_ms)
            return
        self._ask_for_votes(self.term, pre=False)

    def _ask_for_votes(self, term: int, *, pre: bool) -> None:
        request = VoteRequest(self.config.id, term, self.log.last_index, self.log.last_term, pre)
        for peer in self._peers:
            self.outbox.append((peer, request))

    def _become_leader(self, now_ms: float) -> None:
        self.role = Role.LEADER
        self.leader = self.config.id
        self._learners = ()
        self._progress = {}
        self._renew_progress(now_ms)
        self._heartbeat_due_ms = now_ms + self.config.heartbeat_ms
        # An entry of the new term, so that what earlier terms left behind can be committed.
        self._opening_index = self.log.last_index + 1
        self._append_own(self._leader_entry(self.term))

    def _become_follower(self, term: int, leader: int, now_ms: float) -> None:
        if term > self.term:
            self.term = term
            self._vote_for(NOBODY)
        self.role = Role.FOLLOWER
        self.leader = leader
        self._progress = {}
        self._reset_election_timer(now_ms)

    def _reaches_majority(self, now_ms: float) -> bool:
        since = now_ms - self.config.check_quorum_ms
        reached = sum(self._progress[peer].last_reply_ms >= since for peer in self._peers)
        return reached + self.votes >= self._majority

    def _reset_election_timer(self, now_ms: float) -> None:
        self._election_due_ms = now_ms + self.config.election_timeout_ms * (1 + self._random.random())

    # The log

    def _append_own(self, data: bytes) -> None:
        self._append(self.log.last_index + 1, (Entry(self.term, data),))
        self._send_to_idle()

    def _send_to_idle(self) -> None:
        for peer, progress in self._progress.items():
            if not progress.in_flight:
                self._send_append(peer)

    def _append(self, first_index: int, entries: tuple[Entry, ...]) -> None:
        self.log.append(entries)
        self.voters.appended(first_index, entries)
        self._change(SaveEntries(first_index, entries))

    def _truncate_from(self, index: int) -> None:
        if index <= self.commit and not self.config.bugs:
            raise AssertionError(f"node {self.config.id} is told to drop the committed entry {index}")
        self.log.truncate_from(index)
        self.voters.truncated(index)
        self.persisted = min(self.persisted, index - 1)
        # The change that replaces what was dropped follows at once.
        self._last_truncation = self._sequence + 1

    def _compact_log(self, snapshot: Snapshot) -> None:
        follows = self.log.term_at(snapshot.index) == snapshot.term
        self.log.compact(snapshot)
        self.voters.compacted(snapshot, follows=follows)

    def _send_append(self, peer: int) -> None:
        progress = self._progress[peer]
        previous = progress.next_index - 1
        previous_term = self.log.term_at(previous)
        if previous_term is None:
            if not progress.in_flight:
                progress.in_flight = True
                self.outbox.append((peer, SnapshotRequest(self.config.id, self.term, self.log.snapshot)))
            return
        entries = () if progress.in_flight else self.log.after(previous, self.config.entries_per_append)
        progress.in_flight = progress.in_flight or bool(entries)
        self.outbox.append(
            (
                peer,
                AppendRequest(self.config.id, self.term, previous, previous_term, entries, self.commit),
            )
        )

    def _vote_for(self, candidate: int) -> None:
        self.voted_for = candidate
        if "controller-vote-not-persisted" not in self.config.bugs:
            self._change(SaveVote(self.term, candidate))

    def _change(self, change: Change) -> None:
        self._unsaved.append(change)
        self._sequence += 1
