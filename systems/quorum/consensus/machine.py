"""The state machine of a range: registers with versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from systems.quorum.consensus.messages import Decide
from systems.raft.messages import Snapshot

_encode = msgspec.msgpack.Encoder().encode
_command = msgspec.msgpack.Decoder(Decide).decode
_state = msgspec.msgpack.Decoder(tuple[dict[str, tuple[int, Any]], dict[str, tuple[int, bool]]]).decode


class Applied(NamedTuple):
    version: int
    value: Any
    swapped: bool


class RangeMachine:
    """`values`: key -> (version, value); a version is the index of the entry that wrote it."""

    def __init__(
        self,
        *,
        check_at_proposal: bool = False,
        stamped: bool = False,
        on_elected: Callable[[int], None] = lambda term: None,
    ) -> None:
        self.values: dict[str, tuple[int, Any]] = {}
        self.outcomes: dict[int, Applied] = {}
        """What the entries did that somebody waits for, by index."""
        self.awaited: set[int] = set()
        self.leading = False
        self._check_at_proposal = check_at_proposal
        self._stamped = stamped
        self._stamps: dict[str, tuple[int, bool]] = {}
        """Only for the mistake: key -> the stamp of what it holds, and whether that is a swap's ballot."""
        self._on_elected = on_elected

    def held(self, key: str) -> tuple[int, Any]:
        return self.values.get(key, (0, None))

    # raft.StateMachine

    def apply(self, index: int, term: int, data: bytes) -> None:
        if not data:
            return
        command = _command(data)
        version, value = self.held(command.key)
        # The mistake: what was true when the entry was proposed need not be true any more where it takes its place.
        holds = self._check_at_proposal or value == command.expected
        swapped = command.kind == "swap" and holds
        if command.kind != "swap" or swapped:
            version, value = index, None if command.kind == "delete" else command.value
            if not self._stamped or self._is_later(command):
                self.values[command.key] = version, value
        if index in self.awaited:
            self.outcomes[index] = Applied(version, value, swapped)

    def _is_later(self, command: Decide) -> bool:
        """The mistake: a plain write has the stamp of its coordinator's clock, a swap a ballot that follows upon earlier
        ballots only, and of the two the larger one stays, whatever the order that was agreed upon."""
        stamp, by_ballot = self._stamps.get(command.key, (0, False))
        own = command.stamp
        if command.kind == "swap" and by_ballot:
            own = max(own, stamp + 1)
        if own <= stamp:
            return False
        self._stamps[command.key] = own, command.kind == "swap"
        return True

    def snapshot(self) -> bytes:
        return _encode((self.values, self._stamps))

    def restore(self, snapshot: Snapshot) -> None:
        self.values, self._stamps = _state(snapshot.data) if snapshot.data else ({}, {})

    def elected(self, term: int) -> None:
        self.leading = True
        self._on_elected(term)

    def deposed(self) -> None:
        self.leading = False


def encoded(command: Decide) -> bytes:
    return _encode(command)
