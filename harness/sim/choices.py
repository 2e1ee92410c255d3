"""The one source of choice: every draw of the simulation, in order, named for what it decides.

A recording is the seed and the sequence of names (a byte a draw): the seed gives the values back, the
names prove that a replay asks the same questions in the same order. Overrides change single answers,
which is what a shrinker works on.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from harness.sim.errors import DivergenceError

LATENCY: Final = 0
JITTER: Final = 1
TIE: Final = 2
RETRANSMIT: Final = 3
FSYNC: Final = 4
TORN_WRITE: Final = 5
CLOSE_OF_KILLED: Final = 6
START: Final = 7
SEGMENT: Final = 8
LOSS: Final = 9
DATAGRAM_LOST: Final = 10
DATAGRAM_DUPLICATED: Final = 11
DATAGRAM_LATE: Final = 12
SLOW_DISK: Final = 13
MESSAGE_DELAY: Final = 14

NAMES: Final = (
    "latency of a packet",
    "jitter of a degraded link",
    "order of hosts at one instant",
    "retransmission after a heal",
    "duration of an fsync",
    "how much of an unsynced write survives",
    "how the kernel closes a killed process's connection",
    "start of a node",
    "where a stream is cut into segments",
    "whether a packet of a stream is lost",
    "whether a datagram is lost",
    "whether a datagram is doubled",
    "how late an overtaken datagram is",
    "jitter of a slow disk",
    "jitter of delayed messages",
)
"""What each decision is, by its number."""


class Recording(msgspec.Struct, frozen=True):
    """Everything that was chosen in one run. `overrides` maps a draw's index to its answer in [0, 1)."""

    seed: int
    decisions: bytes
    overrides: dict[int, float] = msgspec.field(default_factory=dict)


class Choices:
    """Draws from [0, 1), each recorded under the decision it makes."""

    __slots__ = ("_draw", "_expected", "_overrides", "decisions", "seed", "uniform")

    uniform: Callable[[int], float]
    """The next draw, for one of the decisions above."""

    def __init__(self, seed: int, replay: Recording | None = None) -> None:
        self.seed = seed
        self.decisions = bytearray()
        self._draw = random.Random(_number(f"{seed}/choices")).random
        self._expected = b"" if replay is None else replay.decisions
        self._overrides: Mapping[int, float] = {} if replay is None else replay.overrides
        self.uniform = self._record if replay is None else self._replay

    def _record(self, decision: int) -> float:
        self.decisions.append(decision)
        return self._draw()

    def _replay(self, decision: int) -> float:
        index = len(self.decisions)
        # With an override the run leaves the recorded path on purpose: from there on nothing is expected.
        strict = not self._overrides or index <= min(self._overrides)
        if strict and (index >= len(self._expected) or self._expected[index] != decision):
            recorded = (
                NAMES[self._expected[index]]
                if index < len(self._expected)
                else "nothing, the recording ends here"
            )
            raise DivergenceError(
                f"choice {index} decides '{NAMES[decision]}', but in the recording it was '{recorded}': "
                "another build, another Python or a leak of the real world"
            )
        value = self._record(decision)
        return self._overrides.get(index, value)

    def recording(self) -> Recording:
        return Recording(self.seed, bytes(self.decisions))

    def derive(self, name: str) -> random.Random:
        """A generator of its own for one owner, so that what others draw does not move its numbers."""
        return random.Random(_number(f"{self.seed}/{name}"))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
