"""A Raft node: `core` with a disk, a clock and a network around it, and a state machine on top."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.node import Disk
from systems.raft.core import NOBODY, RaftConfig, RaftCore, SaveEntries, SaveVote
from systems.raft.leadership import Confirmations, NotLeader
from systems.raft.messages import AppendReply, ObserveRequest, PeerReply, PeerRequest, Snapshot, VoteReply
from systems.raft.observers import Observers
from systems.raft.storage import RaftStorage
from systems.rpc import Link

COMPACT_AFTER_ENTRIES = 1000
"""A snapshot replaces the log whenever so many entries were applied since the last one."""
_VOTE_SENT_S = 0.001
"""A vote that was given has left the node by then."""
_TIMER_SLACK_MS = 0.01
"""Timers fire this much late, so that rounding never lets one fire just before its deadline."""


class StateMachine(Protocol):
    """What the entries mean. Called from the event loop, in order of the log."""

    def apply(self, index: int, term: int, data: bytes) -> None: ...
    def snapshot(self) -> bytes:
        """The state after the last `apply`."""
        ...

    def restore(self, snapshot: Snapshot) -> None: ...
    def elected(self, term: int) -> None:
        """This node leads, and has applied everything that any earlier leader committed."""
        ...

    def deposed(self) -> None:
        """It no longer leads; called once after each `elected`."""
        ...


class RaftNode:
    """One voter. Changes go through `propose`; `handle` answers peers and observers (an `rpc` handler)."""

    def __init__(
        self,
        config: RaftConfig,
        machine: StateMachine,
        *,
        disk: Disk,
        rng: random.Random,
        links: Mapping[int, Link],
        leader_entry: Callable[[int], bytes],
        step: Callable[[str], None],
        folder: str = "raft",
    ) -> None:
        """`links` reach the other nodes by id. `leader_entry(term)` opens a term. `step` hears of the
        fault points `raft.vote.persisted`, `raft.vote.granted` and `raft.entries.persisted`."""
        self._config = config
        self._machine = machine
        self._links = links
        self._step = step
        self._storage = RaftStorage(disk, folder)
        persistent, commit = self._storage.recover()
        self._core = RaftCore(config, persistent, rng, self._now_ms(), leader_entry)
        self._applied = 0
        self._core.restore_commit(commit)
        self._observers = Observers(self._core, machine.snapshot)
        self._leading_term = NOBODY
        self._opening_index = 0
        self._elected = False
        self._proposed: deque[tuple[int, asyncio.Future[int]]] = deque()
        self._confirmations = Confirmations(lambda: self._core.voters.majority - self._core.votes)
        self._durable = 0
        self._until_durable: deque[tuple[int, Callable[[], object]]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._call_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0.0
        self._stopped = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with the exception that made this node useless (a disk error)."""

    @property
    def is_leader(self) -> bool:
        return self._core.is_leader

    @property
    def leader(self) -> int:
        """The leader as far as this node knows; -1 if it does not."""
        return self._core.leader

    @property
    def term(self) -> int:
        return self._core.term

    @property
    def voters(self) -> tuple[int, ...]:
        """As the newest entry here says that names them, committed or not."""
        return self._core.voters.current

    @property
    def next_index(self) -> int:
        """The index that the next proposal gets."""
        return self._core.log.last_index + 1

    def start(self) -> None:
        self._advance()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in [*self._calls.values(), *([self._flushing] if self._flushing else [])]:
            task.cancel()

    def propose(self, data: bytes) -> asyncio.Future[int]:
        """Appends an entry; the future gives its index once it is committed and applied, or `NotLeader`."""
        self._catch_up()
        if not self._core.is_leader:
            raise NotLeader(self._core.leader)
        return self._until_committed(self._core.propose(data))

    def learn(self, learners: tuple[int, ...]) -> None:
        """These nodes get the log without a vote, while this node leads."""
        if self._core.is_leader:
            self._core.learn(learners, self._now_ms())

    def caught_up(self, peer: int) -> bool:
        return self._core.caught_up(peer)

    def change_voters(self, voters: tuple[int, ...]) -> asyncio.Future[int]:
        """As `propose`. Raises `ChangeRefused`: one voter at a time, and only when the change before is committed."""
        return self._until_committed(self._core.change_voters(voters, self._catch_up()))

    def _until_committed(self, index: int) -> asyncio.Future[int]:
        committed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._proposed.append((index, committed))
        self._advance()
        return committed

    def confirm_leadership(self) -> asyncio.Future[None]:
        """Done once it is certain that this node still led when it was called: nobody can have been elected
        in a later term before the call. Fails with `NotLeader`. (Ongaro's thesis, 6.4.)"""
        now_ms = self._catch_up()
        if not self._core.is_leader:
            raise NotLeader(self._core.leader)
        confirmed = self._confirmations.since(now_ms)
        if not confirmed.done():
            self._core.send_heartbeats(now_ms)
            self._advance()
        return confirmed

    def handle(self, message: Any) -> Any:
        """The reply to a peer or an observer, or a future of it where something must be durable (or
        committed) first."""
        if isinstance(message, ObserveRequest):
            self._catch_up()
            return self._observers.observe(message)
        return self._on_peer(message)

    def _on_peer(self, request: PeerRequest) -> Any:
        reply = self._core.on_request(request, self._catch_up())
        sequence = self._core.sequence
        self._advance()
        if isinstance(reply, VoteReply) and reply.granted and not reply.pre:
            loop = asyncio.get_running_loop()
            self._on_durable(sequence, lambda: loop.call_later(_VOTE_SENT_S, self._step, "raft.vote.granted"))
        if sequence <= self._durable:
            return reply
        durable: asyncio.Future[PeerReply] = asyncio.get_running_loop().create_future()

        def release() -> None:
            if not durable.done():
                durable.set_result(reply)

        self._on_durable(sequence, release)
        return durable

    def _on_durable(self, sequence: int, action: Callable[[], object]) -> None:
        """Acts once every change up to `sequence` is durable."""
        if sequence <= self._durable:
            action()
        else:
            self._until_durable.append((sequence, action))

    def _now_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1000

    def _catch_up(self) -> float:
        """The time. A leader that slept (a paused process) first finds out whether it still is one."""
        now_ms = self._now_ms()
        if self._core.is_leader and now_ms >= self._core.deadline_ms:
            self._core.tick(now_ms)
            self._advance()
        return now_ms

    def _on_timer(self) -> None:
        self._timer = None
        self._core.tick(self._now_ms())
        self._advance()

    def _advance(self) -> None:
        """Carries out what the core decided."""
        if self._stopped:
            return
        self._notice_role()
        self._apply_committed()
        sequence = self._core.sequence
        outbox, self._core.outbox = self._core.outbox, []
        for peer, request in outbox:
            self._on_durable(sequence, lambda p=peer, r=request: self._send(p, r))  # type: ignore[misc]
        if self._core.has_unsaved and self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
        self._release()
        self._arm()

    def _release(self) -> None:
        while self._until_durable and self._until_durable[0][0] <= self._durable:
            self._until_durable.popleft()[1]()

    def _arm(self) -> None:
        deadline_ms = self._core.deadline_ms + _TIMER_SLACK_MS
        if self._timer is not None:
            if self._timer_at_ms <= deadline_ms:
                # Too early does no harm: the core then does nothing, and the timer is set again.
                return
            self._timer.cancel()
        self._timer_at_ms = deadline_ms
        self._timer = asyncio.get_running_loop().call_at(deadline_ms / 1000, self._on_timer)

    async def _flush(self) -> None:
        """One write and one sync for everything that came together while the last one ran."""
        try:
            while self._core.has_unsaved:
                changes, point = self._core.take_unsaved()
                await self._storage.save(changes)
                if any(isinstance(c, SaveVote) and c.voted_for != NOBODY for c in changes):
                    self._step("raft.vote.persisted")
                if any(isinstance(c, SaveEntries) for c in changes):
                    self._step("raft.entries.persisted")
                self._durable = point.sequence
                self._core.saved(point)
                self._advance()
        except OSError as error:
            if not self.failed.done():
                self.failed.set_exception(error)
        finally:
            self._flushing = None

    def _send(self, peer: int, request: PeerRequest) -> None:
        self._call_number = number = self._call_number + 1
        task = asyncio.get_running_loop().create_task(self._call(peer, request))
        self._calls[number] = task
        task.add_done_callback(lambda _: self._calls.pop(number, None))

    async def _call(self, peer: int, request: PeerRequest) -> None:
        sent_ms = self._now_ms()
        try:
            reply = await self._links[peer].call(request, timeout_ms=self._config.check_quorum_ms)
        except (OSError, TimeoutError):
            self._core.on_unreachable(peer)
            return
        self._core.on_reply(reply, self._catch_up())
        self._advance()
        leads = self._core.is_leader and peer in self._core.voters.current
        if leads and isinstance(reply, AppendReply) and reply.term == self._core.term:
            self._confirmations.on_reply(peer, sent_ms)

    def _notice_role(self) -> None:
        leading = self._core.term if self._core.is_leader else NOBODY
        if leading == self._leading_term:
            return
        self._leading_term = leading
        while self._proposed:
            _, committed = self._proposed.popleft()
            if not committed.done():
                committed.set_exception(NotLeader(self._core.leader))
                # Nobody may be waiting any more; that is no unhandled error.
                committed.exception()
        self._confirmations.fail(NotLeader(self._core.leader))
        if self._elected:
            self._elected = False
            self._machine.deposed()
        self._opening_index = self._core.log.last_index
        self._observers.wake()

    def _apply_committed(self) -> None:
        log = self._core.log
        if log.snapshot.index > self._applied:
            self._machine.restore(log.snapshot)
            self._applied = log.snapshot.index
        if self._applied < self._core.commit:
            while self._applied < self._core.commit:
                index = self._applied + 1
                entry = log.entry(index)
                self._applied = index
                if not entry.voters:
                    self._machine.apply(index, entry.term, entry.data)
                self._resolve(index)
            self._storage.note_commit(self._applied)
            self._observers.applied = self._applied
            self._observers.wake()
        if self._leading_term != NOBODY and not self._elected and self._applied >= self._opening_index:
            self._elected = True
            self._machine.elected(self._leading_term)
        if self._applied - log.snapshot.index >= COMPACT_AFTER_ENTRIES:
            term = log.term_at(self._applied)
            assert term is not None
            voters = self._core.voters.at(self._applied)
            self._core.compact(Snapshot(self._applied, term, self._machine.snapshot(), voters))

    def _resolve(self, index: int) -> None:
        while self._proposed and self._proposed[0][0] <= index:
            _, committed = self._proposed.popleft()
            if not committed.done():
                committed.set_result(index)
