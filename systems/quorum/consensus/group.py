"""One range at one node: its voter, and what it does as the leader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from harness.node import NodeEnvironment
from systems.quorum.consensus.machine import RangeMachine, encoded
from systems.quorum.consensus.messages import Decide, Decided, Ranged, RangedReply
from systems.raft.core import RaftConfig
from systems.raft.leadership import NotLeader
from systems.raft.node import RaftNode
from systems.raft.voters import ChangeRefused
from systems.rpc import Link

DISKS = 1 << 32
"""A voter's id is node id * DISKS + the number of its disk."""


def node_of(voter: int) -> int:
    return voter // DISKS


class _Addressed:
    """A link to one voter of one range, as `RaftNode` uses it."""

    def __init__(self, link: Link, number: int, to: int) -> None:
        self._link, self._range, self._to = link, number, to

    async def call(self, request: Any, *, timeout_ms: float) -> Any:
        reply: RangedReply = await self._link.call(
            Ranged(self._range, self._to, request), timeout_ms=timeout_ms
        )
        if reply.body is None:
            raise ConnectionRefusedError(f"voter {self._to} is no more")
        return reply.body


class _Links(Mapping[int, Any]):
    """Voter id -> its link; every node that may ever be there has one."""

    def __init__(self, links: Mapping[int, Link], number: int) -> None:
        self._links, self._range = links, number

    def __getitem__(self, voter: int) -> _Addressed:
        return _Addressed(self._links[node_of(voter)], self._range, voter)

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


class RangeGroup:
    """`voter` is this node's; `founders` vote from the beginning (none at a node that is to be taught)."""

    def __init__(
        self,
        env: NodeEnvironment,
        number: int,
        voter: int,
        founders: tuple[int, ...],
        links: Mapping[int, Link],
        name_of: Callable[[int], str],
    ) -> None:
        election_ms = float(env.config["consensus.election.timeout.ms"])
        self.number = number
        self.voter = voter
        self.settled_at = 0
        """The epoch of the ring at which this node, as the leader, saw that those vote whom it wants."""
        self._env = env
        self._name_of = name_of
        ranges = int(env.config["consensus.ranges"])
        self.machine = RangeMachine(
            check_at_proposal="cas-checked-at-proposal" in env.bugs,
            stamped="lwt-mixed-with-plain-writes" in env.bugs,
            on_elected=lambda term: env.emit("range-led", range=number, ranges=ranges, term=term),
        )
        self.raft = RaftNode(
            RaftConfig(
                id=voter,
                voters=founders,
                election_timeout_ms=election_ms,
                heartbeat_ms=election_ms / 4,
                check_quorum_ms=election_ms * 2,
                bugs=env.bugs,
            ),
            self.machine,
            disk=env.disk,
            rng=env.random,
            links=_Links(links, number),
            leader_entry=lambda term: b"",
            step=env.step,
            folder=f"range-{number:03}",
        )

    @property
    def leads(self) -> bool:
        return self.raft.is_leader and self.machine.leading

    async def decide(self, command: Decide) -> Decided:
        """As the leader; `elsewhere` where this node is none."""
        if not self.leads:
            return self._elsewhere()
        try:
            if command.kind == "read":
                if "raft-read-without-quorum" not in self._env.bugs:
                    await self.raft.confirm_leadership()
                version, value = self.machine.held(command.key)
                return Decided("done", version, value)
            return await self._propose(command)
        except NotLeader:
            # Of a read nothing remains; what was proposed may still be committed by the next leader.
            return self._elsewhere() if command.kind == "read" else Decided("unknown")

    async def _propose(self, command: Decide) -> Decided:
        if "cas-checked-at-proposal" in self._env.bugs and command.kind == "swap":
            version, value = self.machine.held(command.key)
            if value != command.expected:
                return Decided("done", version, value, False)
        try:
            committed = self.raft.propose(encoded(command))
        except NotLeader:
            return self._elsewhere()
        index = self.raft.next_index - 1
        self.machine.awaited.add(index)
        try:
            await committed
            applied = self.machine.outcomes[index]
        finally:
            self.machine.awaited.discard(index)
            self.machine.outcomes.pop(index, None)
        return Decided("done", applied.version, applied.value, applied.swapped)

    def _elsewhere(self) -> Decided:
        leader = self.raft.leader
        return Decided("elsewhere", leader=self._name_of(node_of(leader)) if leader >= 0 else "")

    # ── who votes ────────────────────────────────────────────────────────────────────────────────────

    def approach(self, wanted: tuple[int, ...], gone: Callable[[int], bool]) -> None:
        """As the leader: one step from the present voters towards those. Who will not answer goes first: a quorum does
        without it already, and beside a new one that is lost, too, it could not."""
        present = self.raft.voters
        missing = tuple(voter for voter in wanted if voter not in present)
        surplus = [voter for voter in present if voter not in wanted]
        self.raft.learn(missing)
        ready = [voter for voter in missing if self.raft.caught_up(voter)]
        lost = [voter for voter in surplus if gone(voter)]
        if lost:
            changed = tuple(voter for voter in present if voter != lost[0])
        elif ready:
            changed = (*present, ready[0])
        elif surplus and not missing:
            # The leader itself goes last.
            last = next((voter for voter in surplus if voter != self.voter), self.voter)
            changed = tuple(voter for voter in present if voter != last)
        else:
            return
        try:
            change = self.raft.change_voters(tuple(sorted(changed)))
        except (ChangeRefused, NotLeader):
            return
        self._env.emit(
            "voters-changed", range=self.number, voters=[self._name_of(node_of(v)) for v in changed]
        )
        change.add_done_callback(lambda done: done.cancelled() or done.exception())

    def handle(self, message: Ranged) -> Any:
        answer = self.raft.handle(message.body)
        if isinstance(answer, asyncio.Future):
            return _wrapped(answer)
        return RangedReply(answer)


async def _wrapped(answer: asyncio.Future[Any]) -> RangedReply:
    return RangedReply(await answer)
