"""What Raft nodes and their observers say to each other, and the entries they agree on."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from systems.rpc import Codec


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One entry; its index is its place. `data` is opaque to Raft. `voters`, where there are any: who votes from
    this entry on; such an entry has no data."""

    term: int
    data: bytes
    voters: tuple[int, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The state machine with everything up to `index` applied; `term` is that entry's. `voters` are those of that
    place; none: those that the configuration names."""

    index: int
    term: int
    data: bytes
    voters: tuple[int, ...] = ()


class VoteRequest(msgspec.Struct, frozen=True, array_like=True, tag="vote"):
    """`pre`: only asks whether a real request could win, and changes no state (pre-vote)."""

    source: int
    term: int
    last_index: int
    last_term: int
    pre: bool


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag="voted"):
    """`asked_term` and `pre` repeat the request's, so that a late reply is recognised."""

    source: int
    term: int
    asked_term: int
    pre: bool
    granted: bool


class AppendRequest(msgspec.Struct, frozen=True, array_like=True, tag="append"):
    """Entries after (`previous_index`, `previous_term`); none of them: a heartbeat."""

    source: int
    term: int
    previous_index: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit: int


class SnapshotRequest(msgspec.Struct, frozen=True, array_like=True, tag="snapshot"):
    """For a follower that needs entries which the leader has compacted away."""

    source: int
    term: int
    snapshot: Snapshot


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag="appended"):
    """To both kinds of append. `index`: on success the last index known to agree, else where to try next."""

    source: int
    term: int
    success: bool
    index: int


class ObserveRequest(msgspec.Struct, frozen=True, array_like=True, tag="observe"):
    """A node without a vote asks the leader for what was committed after (`index`, `term`), its last
    applied entry (0, 0 at first), and waits up to `wait_ms` for it."""

    source: int
    index: int
    term: int
    wait_ms: int


class ObserveReply(msgspec.Struct, frozen=True, array_like=True, tag="observed"):
    """`leader`: whom to ask instead where this node is none (-1: not known); then nothing else counts.
    `snapshot` replaces what the observer has: its place was compacted away, or contradicts this log."""

    term: int
    is_leader: bool
    leader: int
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None


PeerRequest: TypeAlias = VoteRequest | AppendRequest | SnapshotRequest
PeerReply: TypeAlias = VoteReply | AppendReply

MESSAGES = (
    VoteRequest,
    VoteReply,
    AppendRequest,
    AppendReply,
    SnapshotRequest,
    ObserveRequest,
    ObserveReply,
)
codec = Codec(*MESSAGES)
