"""What the nodes of a range say to each other, and what a coordinator asks of its leader."""

from __future__ import annotations

from typing import Any

import msgspec

from systems.raft.messages import AppendReply, AppendRequest, SnapshotRequest, VoteReply, VoteRequest


class Ranged(msgspec.Struct, frozen=True, tag="ranged"):
    """A message of Raft, between voters of a range. `to` is the voter meant: a node with a new disk is another one,
    and must not answer for what the old disk knew."""

    range: int
    to: int
    body: VoteRequest | AppendRequest | SnapshotRequest


class RangedReply(msgspec.Struct, frozen=True, tag="ranged-reply"):
    """`body` None: this node is not the voter that was meant."""

    body: VoteReply | AppendReply | None = None


class Decide(msgspec.Struct, frozen=True, tag="decide"):
    """`kind`: `read`, `put`, `delete` or `swap`; a swap happens only where the key holds `expected` (None: nothing).
    `stamp`: the coordinator's wall clock in nanoseconds, which decides nothing."""

    range: int
    kind: str
    key: str
    value: Any = None
    expected: Any = None
    stamp: int = 0


class Decided(msgspec.Struct, frozen=True, tag="decided"):
    """`version` 0: the key holds nothing and never did. `leader`: the node to ask instead ("": not known). `outcome`:
    `done`, `elsewhere` (this node does not lead; nothing happened) or `unknown`."""

    outcome: str
    version: int = 0
    value: Any = None
    swapped: bool = False
    leader: str = ""


class WhoVotes(msgspec.Struct, frozen=True, tag="who-votes"):
    """Which voter would this node be?"""


class Voter(msgspec.Struct, frozen=True, tag="voter"):
    id: int


class Held(msgspec.Struct, frozen=True, tag="held"):
    """What does this node itself hold of the key? For a look from outside: no promise."""

    range: int
    key: str


MESSAGES = (Ranged, RangedReply, Decide, Decided, WhoVotes, Voter, Held)
