"""The driver of a change: the node that comes or goes takes it from one epoch to the next, others where it is down.

What the operator asked for is on disk until it is done, so that a node that dies in the middle goes on. Every step is
agreed upon, so that it does no harm where two nodes drive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from harness.node import NodeEnvironment
from systems.quorum.consensus.service import Consensus
from systems.quorum.liveness import Liveness
from systems.quorum.membership.agreement import Agreement
from systems.quorum.membership.messages import AskRing, Begin, Progress, RingKnown
from systems.quorum.membership.placement import meeting
from systems.quorum.membership.service import Membership
from systems.quorum.membership.state import (
    Change,
    Refused,
    RingState,
    aborted,
    begun,
    done,
    finished,
    handed_over,
    with_disk,
)
from systems.quorum.membership.streaming import Streaming
from systems.quorum.settings import weights
from systems.quorum.storage import Storage

INTENT: Final = "intent"
STEP_S = 0.2

_encode = msgspec.msgpack.Encoder().encode
_change = msgspec.msgpack.Decoder(Change).decode


class Driver:
    def __init__(
        self,
        env: NodeEnvironment,
        storage: Storage,
        membership: Membership,
        agreement: Agreement,
        streaming: Streaming,
        liveness: Liveness,
        consensus: Consensus,
        call: Callable[[str, Any], Awaitable[Any]],
    ) -> None:
        self._env = env
        self._storage = storage
        self._membership = membership
        self._agreement = agreement
        self._streaming = streaming
        self._liveness = liveness
        self._consensus = consensus
        self._call = call
        self._n = int(env.config["replication.factor"])
        self._need = meeting(env.config)
        self._weights = weights(str(env.config["ring.weights"]))
        held = storage.notes.get(INTENT)
        self._intent = None if not held else _change(held)
        self._refused: tuple[Change, str] | None = None

    @property
    def busy(self) -> bool:
        """Whether this node means to change the ring."""
        return self._wanted(self._membership.state) is not None

    # ── what others ask ──────────────────────────────────────────────────────────────────────────────

    async def on_begin(self, request: Begin) -> Progress:
        change = request.change
        if done(self._membership.state, change, self._membership.disk):
            return Progress(await self._over(change))
        if self._refused is not None and self._refused[0] == change:
            reason, self._refused = self._refused[1], None
            return Progress(False, reason)
        if self._intent != change:
            self._intend(change)
            await self._storage.hardened()
        return Progress(False)

    async def _over(self, change: Change) -> bool:
        """Not before the others know, so that a node that leaves may go: it may be the only one who knows the end.
        Nor before those vote on every range who are to: who leaves may be needed as long, and who has come may be lost
        only then."""
        state = self._membership.state
        known = await self._known(state)
        if not self._older_blocked(state, known) or self._voters_moving(known):
            return False
        return change.kind != "leave" or not self._to_hand_on

    async def on_ask_ring(self, request: AskRing) -> RingKnown:
        self._membership.adopt(request.ring)
        epoch = await self._membership.known_for_good()
        return RingKnown(
            epoch,
            self._membership.disk,
            self._streaming.complete,
            self._to_hand_on,
            self._consensus.settled,
        )

    @property
    def _to_hand_on(self) -> int:
        """Hints that must not go with this node."""
        return 0 if "decommission-drops-hints" in self._env.bugs else len(self._storage.hints)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        while True:
            await asyncio.sleep(STEP_S * (0.75 + 0.5 * self._env.random.random()))
            try:
                await self._step(self._membership.state)
            except (OSError, TimeoutError):
                continue

    async def _step(self, state: RingState) -> None:
        if not state.epoch:
            return
        if state.stage == "stable":
            await self._begin(state)
            return
        assert state.change is not None
        name, disk = self._env.name, self._membership.disk
        if state.stage == "streaming" and name in state.coming and state.coming[name].disk != disk:
            await self._begin_anew(state)
        elif self._drives(state.change.node):
            await self._advance(state)

    async def _begin(self, state: RingState) -> None:
        change = self._wanted(state)
        if change is None:
            return
        known = await self._known(state)
        # Whose place is taken never answers again.
        gone = change.node if change.kind == "rebuild" else change.replaced
        if not self._older_blocked(state, known, gone):
            return
        disk = self._membership.disk
        try:
            wanted = begun(state, change, disk, copies=self._n, weights=self._weights)
        except Refused as refused:
            if self._intent == change:
                self._intend(None)
            self._refused = change, str(refused)
            return
        await self._agreement.follow(state, wanted)

    async def _begin_anew(self, state: RingState) -> None:
        """This node's disk is not the one that the change began with. What it fetched is lost: it fetches again; but
        where the change is another node's, this one is to be rebuilt first."""
        assert state.change is not None
        if state.change.node == self._env.name:
            await self._agreement.follow(state, with_disk(state, self._membership.disk))
        elif self._env.name in self._membership.placement.gainers():
            self._env.emit("change-aborted", change=state.change.kind, subject=state.change.node)
            await self._agreement.follow(state, aborted(state))
        elif self._drives(state.change.node):
            await self._advance(state)

    async def _advance(self, state: RingState) -> None:
        placement = self._membership.placement
        known = await self._known(state)
        if not self._older_blocked(state, known):
            return
        if state.stage == "handing-over":
            self._env.step("store.ring.finishing")
            await self._agreement.follow(state, finished(state))
            return
        assert state.change is not None
        for name in placement.gainers():
            there = known.get(name)
            if there is None or there.disk != state.coming[name].disk or not there.fetched:
                return
        if state.change.kind == "leave":
            leaver = known.get(state.change.node)
            if leaver is None or leaver.hints:
                return
        self._env.step("store.ring.handing-over")
        await self._agreement.follow(state, handed_over(state))

    def _drives(self, subject: str) -> bool:
        if subject == self._env.name or self._liveness.alive(subject):
            return subject == self._env.name
        alive = [name for name in self._membership.state.members if self._liveness.alive(name)]
        return bool(alive) and min(alive) == self._env.name

    # ── what is known ────────────────────────────────────────────────────────────────────────────────

    def _wanted(self, state: RingState) -> Change | None:
        name, disk = self._env.name, self._membership.disk
        member = state.members.get(name)
        if state.stage == "stable" and member is not None and member.disk != disk:
            return Change("rebuild", name)
        if self._intent is not None and done(state, self._intent, disk):
            self._intend(None)
        return self._intent

    def _intend(self, change: Change | None) -> None:
        self._intent = change
        self._storage.note(INTENT, b"" if change is None else _encode(change))

    async def _known(self, state: RingState) -> dict[str, RingKnown]:
        """Who has this epoch on disk, of the members and those to come."""
        names = list(dict.fromkeys((*state.members, *state.target)))
        answers = await asyncio.gather(*(self._ask(name, AskRing(state)) for name in names))
        return {
            name: answer
            for name, answer in zip(names, answers, strict=True)
            if answer is not None and answer.epoch == state.epoch
        }

    async def _ask(self, name: str, message: AskRing) -> RingKnown | None:
        try:
            known: RingKnown = await self._call(name, message)
        except (OSError, TimeoutError):
            return None
        return known

    def _voters_moving(self, known: dict[str, RingKnown]) -> bool:
        """Whether a range of consensus has, as far as is known, other voters than the ring wants."""
        settled = {number for there in known.values() for number in there.settled}
        return len(settled) < self._consensus.ranges

    def _older_blocked(self, state: RingState, known: dict[str, RingKnown], gone: str = "") -> bool:
        """The step after this epoch is safe only once no request of the epoch before it can succeed."""
        if "ring-disagreement" in self._env.bugs:
            return True

        def knows(name: str) -> bool:
            there = known.get(name)
            return name == gone or (there is not None and there.disk == state.members[name].disk)

        return self._membership.placement.blocks_older(knows, self._need)
