"""What nodes say to each other, in the frames of `systems.rpc`."""

from __future__ import annotations

from typing import Any

import msgspec

from systems.quorum.consensus.messages import MESSAGES as CONSENSUS
from systems.quorum.membership.messages import MESSAGES as MEMBERSHIP
from systems.quorum.membership.state import RingState
from systems.quorum.versions import Cell
from systems.rpc import Codec


class Read(msgspec.Struct, frozen=True, tag="read"):
    """`epoch`: of the ring by which this node is asked; as in all requests, another one is refused (`OtherRing`)."""

    key: str
    epoch: int = 0


class Found(msgspec.Struct, frozen=True, tag="found"):
    """`error`: why there is no answer."""

    cell: Cell | None = None
    error: str = ""


class Store(msgspec.Struct, frozen=True, tag="store"):
    """Merge and keep, durable before the answer. `hint_for`: keep it for that node instead, as a hint of
    that age (`since`). `purpose`: `write`, `repair`, `hint`, `sync`, `stream`: for message-kind faults and mistakes."""

    key: str
    cell: Cell
    hint_for: str = ""
    purpose: str = "write"
    epoch: int = 0
    since: int = 0


class Stored(msgspec.Struct, frozen=True, tag="stored"):
    error: str = ""


class Update(msgspec.Struct, frozen=True, tag="update"):
    """Change in place, at a replica under its own actor: `put` (argument: value, with a context), `erase` (with a
    context), `count` (a number), `add`, `remove` (an element). `base` is merged before: what a quorum of replicas was
    seen to hold. The answer is the cell after it."""

    key: str
    kind: str
    argument: Any = None
    context: dict[str, int] = msgspec.field(default_factory=dict)
    epoch: int = 0
    base: Cell | None = None


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Gossip: node -> [generation, heartbeat], and the sender's ring. One way."""

    beats: dict[str, tuple[int, int]]
    ring: RingState


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """The leaves of a Merkle tree over the keys that both nodes keep; its root decides whether they are read."""

    node: str
    root: bytes
    leaves: tuple[bytes, ...]
    epoch: int = 0


class Differing(msgspec.Struct, frozen=True, tag="differing"):
    """The answerer's cells in the leaves that differ, and which leaves these are."""

    leaves: tuple[int, ...] = ()
    cells: tuple[tuple[str, Cell], ...] = ()


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Is this node whole? For readiness and recovery."""


class State(msgspec.Struct, frozen=True, tag="state"):
    alive: tuple[str, ...]
    hints: int
    differing: int
    """Cells that the last rounds of anti-entropy, with every peer, had to repair."""
    rounds: int
    """The fewest rounds of anti-entropy with any peer since this node began."""
    comparing: bool = True
    """Anti-entropy is on."""
    ranges: int = 0
    """Consensus: how many ranges there are, which this node leads, and whether one's voters have to change."""
    leads: tuple[int, ...] = ()
    moving: bool = False
    epoch: int = 0
    members: tuple[str, ...] = ()
    serving: bool = True
    """This node has a part in the ring."""
    changing: bool = False
    """The ring is being changed, or this node means to change it."""


CODEC = Codec(
    Read, Found, Store, Stored, Update, Beat, Compare, Differing, Probe, State, *CONSENSUS, *MEMBERSHIP
)
