"""What a node program gets from the outside: everything that must be virtual in a simulation.

A node is an ordinary asyncio program: it listens, dials and sleeps with plain `asyncio`. Its disk, its
wall clock, its randomness and its configuration come from a `NodeEnvironment`, so that the same program
runs simulated and for real. A node starts no threads and touches neither `time`, `random` nor `open`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from harness.topology import Topology


class Address(NamedTuple):
    host: str
    port: int


class Disk(Protocol):
    """A node's private files, by relative POSIX path; folders are implicit.

    Everything but `fsync` is immediate and lands in the page cache: it survives the death of the
    process, not the loss of power. `append`, `write` and `fsync` raise `OSError(ENOSPC)` when full.
    """

    def list(self, prefix: str = "") -> list[str]:
        """Names that start with `prefix`, sorted."""
        ...

    def exists(self, name: str) -> bool: ...

    def size(self, name: str) -> int:
        """Bytes; raises FileNotFoundError."""
        ...

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Up to `length` bytes from `offset` (-1: to the end); raises FileNotFoundError."""
        ...

    def append(self, name: str, data: bytes) -> int:
        """Adds to the end, creating the file; returns the new size."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replaces the whole content. Not atomic over a crash: write another name and `rename`."""
        ...

    def truncate(self, name: str, size: int) -> None: ...

    def rename(self, source: str, target: str) -> None:
        """Atomic; replaces the target."""
        ...

    def remove(self, name: str) -> None: ...

    async def fsync(self, name: str) -> None:
        """The file's present content and name survive a power loss once this returns."""
        ...


class WallClock(Protocol):
    """The clock that a clock nemesis skews. Intervals and time-outs use `loop.time()`, which it never does."""

    def time_ns(self) -> int: ...


class NodeEvent(msgspec.Struct, frozen=True):
    """One thing a node says of itself, for targeting, situations and the report's cluster state.

    `time` is nanoseconds since the run began; `kind` is the system's word (`leader-elected`, `isr-shrunk`,
    `truncated`, …). One line of `events.jsonl` in the run folder.
    """

    time: int
    node: str
    kind: str
    fields: dict[str, Any] = msgspec.field(default_factory=dict)


class MessageDelays:
    """Delays of messages by kind, on the links of one node. Empty but for a fault; the backend sets them.

    Both directions of a link are kept by the node that dials: the far end of a connection does not know whom
    it answers.
    """

    def __init__(self, uniform: Callable[[], float]) -> None:
        """`uniform` draws from [0, 1), for the jitter."""
        self._uniform = uniform
        self._links: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}

    def link(self, source: str, target: str) -> Mapping[str, tuple[float, float]]:
        """What is delayed there: kind -> seconds, and the jitter on top. The same mapping for ever, so that
        a sender may keep it and only look whether it is empty."""
        return self._links.setdefault((source, target), {})

    def set(self, source: str, target: str, kind: str, *, latency_s: float, jitter_s: float) -> None:
        """Zeroes lift it."""
        link = self._links.setdefault((source, target), {})
        if latency_s or jitter_s:
            link[kind] = (latency_s, jitter_s)
        else:
            link.pop(kind, None)

    def draw_s(self, delay: tuple[float, float]) -> float:
        """How long this one message waits."""
        latency_s, jitter_s = delay
        return latency_s + jitter_s * self._uniform() if jitter_s else latency_s


class NodeEnvironment(Protocol):
    """One node's world."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def role(self) -> str: ...
    @property
    def topology(self) -> Topology: ...
    @property
    def disk(self) -> Disk: ...
    @property
    def wall_clock(self) -> WallClock: ...
    @property
    def random(self) -> random.Random: ...
    @property
    def config(self) -> Mapping[str, Any]:
        """The run's settings, resolved and typed, under the system's own key names."""
        ...

    @property
    def bugs(self) -> frozenset[str]:
        """Names of the catalogue's mistakes that are switched on (`chaos bugs`)."""
        ...

    @property
    def incarnation(self) -> int:
        """0 at the first start of this node, one more at each restart. For diagnostics: never for protocol."""
        ...

    @property
    def founder(self) -> bool:
        """Whether this machine was there when the cluster began. A spare, or a node launched anew, was not: it
        begins with an empty disk and is no member until the system is told."""
        ...

    @property
    def delays(self) -> MessageDelays:
        """Delays of messages by their kind, which whoever sends messages must ask (`systems.rpc` does)."""
        ...

    @property
    def listen(self) -> Address:
        """Where to bind."""
        ...

    @property
    def advertised(self) -> Address:
        """What to tell clients."""
        ...

    def peer(self, name: str) -> Address:
        """Where *this* node reaches another one (on some backends a proxy of that one link)."""
        ...

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Reports a `NodeEvent`."""
        ...

    def step(self, name: str) -> None:
        """A named protocol step (a fault point): a schedule may crash the node here. Counts as a situation."""
        ...


NodeProgram = Callable[[NodeEnvironment], Awaitable[None]]
"""Runs until it is cancelled. Raising ends the process, as in a real one."""
