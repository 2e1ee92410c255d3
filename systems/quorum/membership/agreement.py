"""Which ring follows: one decision per epoch among the members of that epoch (Lamport 2001, Paxos made simple).

Whoever proposes: an operator's change, the next step of one, or its end. Two rings of the same epoch never exist.
Acceptors are disks, not names: one that lost what it had promised is none.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from harness.node import NodeEnvironment
from systems.quorum.membership.messages import Ballot, OtherRing, Prepare, Propose, Vote
from systems.quorum.membership.service import Membership
from systems.quorum.membership.state import RingState
from systems.quorum.storage import Storage

PROMISE: Final = "promise"
LOWEST: Ballot = (0, "")


class Promise(msgspec.Struct, frozen=True):
    """An acceptor's memory, of one epoch."""

    epoch: int
    promised: Ballot = LOWEST
    accepted_at: Ballot | None = None
    accepted: RingState | None = None


_encode = msgspec.msgpack.Encoder().encode
_promise = msgspec.msgpack.Decoder(Promise).decode


class Agreement:
    def __init__(
        self,
        env: NodeEnvironment,
        storage: Storage,
        membership: Membership,
    ) -> None:
        self._env = env
        self._storage = storage
        self._membership = membership
        held = storage.notes.get(PROMISE)
        self._promise = Promise(0) if held is None else _promise(held)
        self._round = 0

    # ── acceptor ─────────────────────────────────────────────────────────────────────────────────────

    async def on_prepare(self, request: Prepare) -> Vote | OtherRing:
        held = self._held(request.epoch)
        if held is None:
            return OtherRing(self._membership.state)
        if request.ballot <= held.promised:
            return Vote(False, held.promised)
        await self._keep(msgspec.structs.replace(held, promised=request.ballot))
        return Vote(True, request.ballot, held.accepted_at, held.accepted)

    async def on_propose(self, request: Propose) -> Vote | OtherRing:
        held = self._held(request.epoch)
        if held is None:
            return OtherRing(self._membership.state)
        if request.ballot < held.promised:
            return Vote(False, held.promised)
        await self._keep(Promise(request.epoch, request.ballot, request.ballot, request.ring))
        return Vote(True, request.ballot)

    def _held(self, epoch: int) -> Promise | None:
        """None where this disk is no acceptor of that epoch."""
        state = self._membership.state
        member = state.members.get(self._env.name)
        if epoch != state.epoch or member is None or member.disk != self._membership.disk:
            return None
        return self._promise if self._promise.epoch == epoch else Promise(epoch)

    async def _keep(self, promise: Promise) -> None:
        self._promise = promise
        self._storage.note(PROMISE, _encode(promise))
        await self._storage.hardened()

    # ── proposer ─────────────────────────────────────────────────────────────────────────────────────

    async def follow(self, base: RingState, wanted: RingState) -> bool:
        """One attempt. True where a ring was decided, `wanted` or another one, and is adopted."""
        if self._membership.epoch != base.epoch:
            return False
        self._round = max(self._round, self._promise.promised[0]) + 1
        ballot = (self._round, self._env.name)
        votes = await self._asked(base, Prepare(base.epoch, ballot))
        if votes is None:
            return False
        accepted = [(v.accepted_at, v.accepted) for v in votes if v.accepted_at and v.accepted is not None]
        ring = max(accepted, key=lambda pair: pair[0])[1] if accepted else wanted
        if await self._asked(base, Propose(base.epoch, ballot, ring)) is None:
            return False
        self._membership.adopt(ring)
        return True

    async def _asked(self, base: RingState, message: Prepare | Propose) -> list[Vote] | None:
        """The votes of a majority of the members, or None."""
        nodes = list(base.members)
        answers = await asyncio.gather(*(self._vote(node, message) for node in nodes))
        granted = [vote for vote in answers if vote is not None and vote.granted]
        for vote in answers:
            if vote is not None:
                self._round = max(self._round, vote.promised[0])
        return granted if len(granted) > len(nodes) // 2 else None

    async def _vote(self, node: str, message: Prepare | Propose) -> Vote | None:
        try:
            vote: Vote = await self._membership.ask(node, message)
        except (OSError, TimeoutError):
            return None
        return vote
