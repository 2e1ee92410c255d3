"""What this node knows of the ring, and who it is in it (semantics 2.7): requests of another epoch are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from harness.node import NodeEnvironment
from systems.quorum.membership.messages import OtherRing
from systems.quorum.membership.placement import Placement
from systems.quorum.membership.state import FIRST_DISK, NOBODY, RingState, founded
from systems.quorum.settings import weights
from systems.quorum.storage import Storage

RING: Final = "ring"
DISK: Final = "disk"
_encode = msgspec.msgpack.Encoder().encode
_ring = msgspec.msgpack.Decoder(RingState).decode


class Moved(ConnectionError):
    """A peer is at a later epoch, which this node has adopted just now: ask again."""


class Membership:
    """`call(node, message)`: the answer of a node, or OSError / TimeoutError. `tell(node)`: gossips with it now."""

    def __init__(
        self,
        env: NodeEnvironment,
        storage: Storage,
        call: Callable[[str, Any], Awaitable[Any]],
        tell: Callable[[str], None],
    ) -> None:
        self._env = env
        self._storage = storage
        self._call = call
        self._tell = tell
        self._n = int(env.config["replication.factor"])
        self._listeners: list[Callable[[], None]] = []
        self.changed = asyncio.Event()
        """Set at each new epoch; whoever waits clears it."""
        self.disk = self._identified()
        held = storage.notes.get(RING)
        self.state = NOBODY if held is None else _ring(held)
        self.placement = self._placed(self.state)
        if held is None and self.disk == FIRST_DISK:
            names = (node.name for node in env.topology.founders)
            given = weights(str(env.config["ring.weights"]))
            self.adopt(founded({name: given.get(name, 1.0) for name in names}))
        elif held is not None:
            self._report()

    def _identified(self) -> int:
        """A founder's first disk is the one that the operator named; on any other empty disk nothing is known of what
        this node has promised before (`amnesiac-replica-answers`: it takes part as if it knew)."""
        held = self._storage.notes.get(DISK)
        if held is not None:
            return int(held)
        first = self._env.founder and self._env.incarnation == 0
        if "amnesiac-replica-answers" in self._env.bugs and self._env.founder:
            first = True
        disk = FIRST_DISK if first else 1 + self._env.random.getrandbits(31)
        self._storage.note(DISK, str(disk).encode())
        return disk

    def _placed(self, state: RingState) -> Placement:
        return Placement(state, n=self._n, vnodes=int(self._env.config["ring.vnodes"]), bugs=self._env.bugs)

    @property
    def epoch(self) -> int:
        return self.state.epoch

    @property
    def serving(self) -> bool:
        """Whether this node has a part in the ring."""
        return self.state.has(self._env.name, self.disk)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Called at each new epoch, before any request of it."""
        self._listeners.append(listener)

    def adopt(self, state: RingState) -> bool:
        """Later epochs only. What this node has no right to goes: keys that it no longer keeps once nothing changes
        any more, and old cells of ranges that it is about to gain, which missed what was written meanwhile."""
        if state.epoch <= self.state.epoch:
            return False
        self.state = state
        self.placement = placement = self._placed(state)
        name = self._env.name
        gone: list[str] = []
        for key in list(self._storage.cells):
            if state.stage == "stable":
                going = not placement.keeps(name, key)
            elif state.stage == "streaming":
                going = placement.gains(name, key)
                if "cleanup-before-handoff" in self._env.bugs:
                    going = going or name not in placement.ring.preference(key, self._n)
            else:
                going = False
            if going:
                gone.append(key)
        self._storage.forget(gone)
        self._storage.note(RING, _encode(state))
        if gone:
            self._env.emit("ranges-dropped", keys=len(gone), epoch=state.epoch)
        self._report(dropped=len(gone))
        self.changed.set()
        for listener in self._listeners:
            listener()
        return True

    def _report(self, dropped: int = 0) -> None:
        state = self.state
        change = state.change
        self._env.emit(
            "ring-changed",
            epoch=state.epoch,
            stage=state.stage,
            vnodes=int(self._env.config["ring.vnodes"]),
            change="" if change is None else change.kind,
            subject="" if change is None else change.node,
            members={name: [m.tokens, m.weight] for name, m in state.members.items()},
            coming={name: [m.tokens, m.weight] for name, m in state.target.items()},
            dropped=dropped,
        )

    async def known_for_good(self) -> int:
        """The epoch, once no power loss takes it back."""
        epoch = self.epoch
        await self._storage.hardened()
        return epoch

    def refuses(self, epoch: int) -> OtherRing | None:
        """What to answer to a request of another epoch, or at a node that has no part in the ring."""
        if "ring-disagreement" in self._env.bugs and self.serving:
            return None
        if epoch == self.epoch and self.serving:
            return None
        if epoch < self.epoch:
            self._env.emit("ring-refused", epoch=epoch, known=self.epoch)
        return OtherRing(self.state)

    async def ask(self, node: str, message: Any) -> Any:
        """Of a node at the message's epoch. One that is behind is told, and asked once more. Raises `Moved` where it is
        ahead, else OSError or TimeoutError."""
        answer = await self._call(node, message)
        if not isinstance(answer, OtherRing):
            return answer
        if answer.ring.epoch < message.epoch:
            self._tell(node)
            answer = await self._call(node, message)
            if not isinstance(answer, OtherRing):
                return answer
        self.adopt(answer.ring)
        if self.epoch > message.epoch:
            raise Moved(f"{node} is at epoch {self.epoch}")
        raise ConnectionRefusedError(f"{node} has no part in epoch {message.epoch}")
