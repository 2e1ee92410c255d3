"""The event trace of a run: a running digest of everything that happened, and on request the whole story.

The digest covers every executed callback (time, process) and every delivered segment (connection, length).
Two runs are the same run exactly if their digests are equal; `first_difference` finds where they part.
"""

from __future__ import annotations

import hashlib
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from harness.sim.choices import NAMES, Choices

BLOCK: Final = 8192
"""Words between two updates of the digest."""


class TraceDigest:
    """A blake2b over 64-bit words. `words.append` is the hot path; call `flush` every `BLOCK` words or so."""

    __slots__ = ("_digest", "events", "words")

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self.words = array("q")
        self.events = 0

    def flush(self) -> None:
        self._digest.update(self.words.tobytes())
        self.events += len(self.words)
        # In place: the loop holds on to the array's append method.
        del self.words[:]

    def hexdigest(self) -> str:
        """Of everything so far."""
        self.flush()
        return self._digest.copy().hexdigest()


class TraceWriter:
    """`trace.jsonl`: one line for every message sent and delivered, connection event, fault and node event.

    Each line has its number `n`, the time `t` in nanoseconds and `callbacks`, the count of trace words so
    far. A delivery names the line of its `send`; a `send` names as `cause` the last delivery on its host
    (program order and messages together are happens-before), so that the trace can be cut to what led
    to an event.
    """

    def __init__(self, path: Path, digest: TraceDigest, choices: Choices) -> None:
        self._file: BinaryIO = path.open("wb")
        self._encoder = msgspec.json.Encoder()
        self._digest = digest
        self._choices = choices
        self._told_choices = 0
        self._line = 0
        self._last_delivery: dict[str, int] = {}

    def write(self, kind: str, time_ns: int, **fields: Any) -> int:
        """Returns the number of the line."""
        self._tell_choices()
        return self._append(
            {
                "t": time_ns,
                "kind": kind,
                "callbacks": self._digest.events + len(self._digest.words),
                **fields,
            }
        )

    def sent(self, time_ns: int, source: str, target: str, connection: int, what: str, size: int) -> int:
        fields: dict[str, Any] = {
            "source": source,
            "target": target,
            "connection": connection,
            "what": what,
            "bytes": size,
        }
        cause = self._last_delivery.get(source)
        if cause is not None:
            fields["cause"] = cause
        return self.write("send", time_ns, **fields)

    def delivered(
        self, time_ns: int, source: str, target: str, connection: int, size: int, send: int
    ) -> None:
        self._last_delivery[target] = self.write(
            "deliver", time_ns, source=source, target=target, connection=connection, bytes=size, send=send
        )

    def close(self) -> None:
        self._tell_choices()
        self._file.close()

    def _tell_choices(self) -> None:
        decisions = self._choices.decisions
        for decision in decisions[self._told_choices :]:
            self._told_choices += 1
            self._append({"kind": "choice", "decides": NAMES[decision]})

    def _append(self, fields: dict[str, Any]) -> int:
        self._line += 1
        self._file.write(self._encoder.encode({"n": self._line, **fields}) + b"\n")
        return self._line


class Difference(msgspec.Struct, frozen=True):
    """The first line in which two traces differ; None where one of them has ended."""

    line: int
    left: dict[str, Any] | None
    right: dict[str, Any] | None
    before: dict[str, Any] | None
    """The last line that both have: what caused the difference lies between it and the next."""

    def __str__(self) -> str:
        def shown(line: dict[str, Any] | None) -> str:
            return "(the trace ends)" if line is None else msgspec.json.encode(line).decode()

        return f"line {self.line}: {shown(self.left)} against {shown(self.right)}, after {shown(self.before)}"


def first_difference(left: Path, right: Path) -> Difference | None:
    """Compares two `trace.jsonl`; None if they are equal."""
    before: bytes | None = None
    with left.open("rb") as a, right.open("rb") as b:
        number = 0
        while True:
            number += 1
            one, other = a.readline(), b.readline()
            if one != other:
                return Difference(number, _decoded(one), _decoded(other), _decoded(before))
            if not one:
                return None
            before = one


def _decoded(line: bytes | None) -> dict[str, Any] | None:
    if not line:
        return None
    decoded: dict[str, Any] = msgspec.json.decode(line)
    return decoded
