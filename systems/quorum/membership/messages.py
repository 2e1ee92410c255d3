"""What nodes say to each other of the ring."""

from __future__ import annotations

import msgspec

from systems.quorum.membership.state import Change, RingState
from systems.quorum.versions import Cell

Ballot = tuple[int, str]
"""A round, and the name of who proposes."""


class OtherRing(msgspec.Struct, frozen=True, tag="other-ring"):
    """Refused: the request is of another epoch than `ring`, the answerer's, or the answerer has no part in it."""

    ring: RingState


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Paxos, phase 1, for what follows that epoch."""

    epoch: int
    ballot: Ballot


class Propose(msgspec.Struct, frozen=True, tag="propose"):
    """Phase 2."""

    epoch: int
    ballot: Ballot
    ring: RingState


class Vote(msgspec.Struct, frozen=True, tag="vote"):
    """`granted` False: a higher ballot was promised, which is `promised`. `accepted`: what was accepted before."""

    granted: bool
    promised: Ballot
    accepted_at: Ballot | None = None
    accepted: RingState | None = None


class AskRing(msgspec.Struct, frozen=True, tag="ask-ring"):
    """Do you know this epoch, for good? `ring` is the asker's."""

    ring: RingState


class RingKnown(msgspec.Struct, frozen=True, tag="ring-known"):
    """`disk`: the answerer's. `fetched`: it has all that it gains. `hints`: how many it still has to hand on.
    `settled`: the ranges of consensus that it leads, with the voters that this epoch wants."""

    epoch: int
    disk: int
    fetched: bool
    hints: int
    settled: tuple[int, ...]


class Fetch(msgspec.Struct, frozen=True, tag="fetch"):
    """The next cells that the node gains, behind that key."""

    epoch: int
    node: str
    after: str


class Fetched(msgspec.Struct, frozen=True, tag="fetched"):
    """`last`: there are no more."""

    cells: tuple[tuple[str, Cell], ...]
    last: bool


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """The operator tells this node to change the ring: it does not rest until that is done, or refused."""

    change: Change


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """`refused`: why nothing has changed, nor will."""

    done: bool
    refused: str = ""


MESSAGES = (OtherRing, Prepare, Propose, Vote, AskRing, RingKnown, Fetch, Fetched, Begin, Progress)
