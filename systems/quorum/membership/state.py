"""A ring with its epoch, and the steps by which nodes join, leave and are replaced: pure.

A change takes three epochs after the stable one. Neighbouring epochs have quorums that meet, so that nobody needs to
be told at the same instant (as in Cassandra's CEP-21):

    stable         reads and writes at the members
    streaming      reads at the members; writes at the members and at those to come; who gains a range fetches it
    handing-over   reads at those to come; writes at both
    stable         those to come are the members

A node is its name and its disk: one that comes back with an empty disk is another node, which replaces itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Stage = Literal["stable", "streaming", "handing-over"]
Kind = Literal["join", "leave", "replace", "rebuild"]
Status = Literal["joining", "normal", "leaving", "left"]

FIRST_DISK = 0
"""Of a founder, as an operator says of a new cluster; every later disk has a random number."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """`tokens`: the text that its tokens are made of."""

    disk: int
    tokens: str
    weight: float = 1.0


class Change(msgspec.Struct, frozen=True):
    """`rebuild`: the node lost its disk and takes its own place."""

    kind: Kind
    node: str
    replaced: str = ""


class RingState(msgspec.Struct, frozen=True, tag="ring"):
    """`coming`: the members after the change; `lost`: those of the members that will never answer again."""

    epoch: int
    members: dict[str, Member]
    stage: Stage = "stable"
    coming: dict[str, Member] = {}
    change: Change | None = None
    lost: tuple[str, ...] = ()

    @property
    def target(self) -> dict[str, Member]:
        """The members once nothing changes any more."""
        return self.members if self.stage == "stable" else self.coming

    def status(self, name: str) -> Status:
        here, soon = name in self.members, name in self.target
        if here and soon:
            return "joining" if name in self.lost else "normal"
        return "joining" if soon else "leaving" if here else "left"

    def has(self, name: str, disk: int) -> bool:
        """Whether that disk takes part: as a member, or as one to come."""
        return any(
            name in side and side[name].disk == disk and not (side is self.members and name in self.lost)
            for side in (self.members, self.coming)
        )


NOBODY = RingState(0, {})


class Refused(Exception):
    """The change makes no sense in this ring."""


def founded(weights: Mapping[str, float]) -> RingState:
    return RingState(1, {name: Member(FIRST_DISK, name, weight) for name, weight in sorted(weights.items())})


def done(state: RingState, change: Change, disk: int) -> bool:
    """Whether the ring is what the change makes of it. `disk`: of the node that changes."""
    if state.stage != "stable" or not state.epoch:
        return False
    if change.kind == "leave":
        return change.node not in state.members
    member = state.members.get(change.node)
    return member is not None and member.disk == disk and change.replaced not in state.members


def begun(
    state: RingState, change: Change, disk: int, *, copies: int, weights: Mapping[str, float] | None = None
) -> RingState:
    """The next epoch, of a stable ring. Raises `Refused`."""
    members, node = state.members, change.node
    coming = dict(members)
    lost: tuple[str, ...] = ()
    match change.kind:
        case "join":
            if node in members:
                raise Refused(f"{node} is in the ring already")
            taken = {member.tokens for member in members.values()}
            tokens = f"{node}@{state.epoch}" if node in taken else node
            coming[node] = Member(disk, tokens, (weights or {}).get(node, 1.0))
        case "leave":
            if node not in members:
                raise Refused(f"{node} is not in the ring")
            if len(members) <= copies:
                raise Refused(f"{len(members)} members keep {copies} copies: none of them can leave")
            del coming[node]
        case "replace":
            if change.replaced not in members:
                raise Refused(f"{change.replaced} is not in the ring: nobody can take its place")
            if node in members:
                raise Refused(f"{node} is in the ring already")
            old = coming.pop(change.replaced)
            coming[node] = Member(disk, old.tokens, old.weight)
            lost = (change.replaced,)
        case "rebuild":
            if node not in members:
                raise Refused(f"{node} is not in the ring")
            coming[node] = msgspec.structs.replace(members[node], disk=disk)
            lost = (node,)
    return RingState(state.epoch + 1, members, "streaming", dict(sorted(coming.items())), change, lost)


def handed_over(state: RingState) -> RingState:
    """Those who gain something have it all."""
    assert state.stage == "streaming"
    return msgspec.structs.replace(state, epoch=state.epoch + 1, stage="handing-over")


def finished(state: RingState) -> RingState:
    assert state.stage == "handing-over"
    return RingState(state.epoch + 1, state.coming)


def aborted(state: RingState) -> RingState:
    """Back to the members: nobody read from those to come."""
    assert state.stage == "streaming"
    return RingState(state.epoch + 1, state.members)


def with_disk(state: RingState, disk: int) -> RingState:
    """The node that changes lost its disk while it fetched: it begins anew."""
    assert state.stage == "streaming"
    assert state.change is not None
    node = state.change.node
    coming = {**state.coming, node: msgspec.structs.replace(state.coming[node], disk=disk)}
    return msgspec.structs.replace(state, epoch=state.epoch + 1, coming=coming)
