"""A workload: what clients do, how it is judged, and how the end of the run reads everything back.

Registered under `chaos.workloads`. A workload speaks to capabilities, never to a system.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from harness.cluster import Cluster
from harness.generators import Generator
from harness.settings import Setting
from harness.system import System
from harness.topology import Topology


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator asks a process to do."""

    f: str
    key: Any = None
    value: Any = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    timeout_ms: int | None = None
    """After this the operation is `info` and the process is retired; None takes the run's `op.timeout.ms`."""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it. `retire` ends the process although the outcome is known (a client that is
    fenced or broken): a fresh process takes over its slot."""

    type: str
    value: Any = None
    error: Any = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    retire: bool = False


def ok(value: Any = None, *, retire: bool = False, **extra: Any) -> Completion:
    return Completion(type="ok", value=value, extra=extra, retire=retire)


def fail(error: str, *, value: Any = None, retire: bool = False, **extra: Any) -> Completion:
    """Only for what certainly did not happen."""
    return Completion(type="fail", value=value, error=error, extra=extra, retire=retire)


def info(error: str, *, value: Any = None, **extra: Any) -> Completion:
    """Outcome unknown: the process is retired."""
    return Completion(type="info", value=value, error=error, extra=extra, retire=True)


class Client(Protocol):
    """One client process. Opened on its own client host; used by one operation at a time.

    `invoke` maps `DefiniteFailure` to `fail`; whatever else it raises is recorded as `info` with the
    exception's name, and the process is retired (its host is killed: nothing is flushed or said goodbye).
    A programming error (TypeError, AssertionError, …) also makes the run `unknown`.
    """

    async def open(self) -> None: ...
    async def invoke(self, op: Invocation) -> Completion: ...
    async def close(self) -> None: ...


class Test(msgspec.Struct, frozen=True):
    """What a workload gets to know of the run it is part of."""

    __test__ = False

    system: System
    cluster: Cluster
    topology: Topology
    config: dict[str, Any]
    """Resolved settings of system, workload and harness, by key."""
    concurrency: int
    rate: float
    """Operations a second over all clients, asked for by `--rate`."""
    time_limit_ms: int
    random: random.Random


class Workload(Protocol):
    description: str
    requires: frozenset[str]
    """Capabilities (`harness.system.System.capabilities`)."""
    settings: tuple[Setting, ...]
    checkers: tuple[str, ...]
    """Names under `chaos.checkers`."""
    default_rate: float
    default_concurrency: int

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        """Raises `UserError` for a configuration in which the workload makes no sense."""
        ...

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """What selectors can name: `{"leader": ("input/0", …), "coordinator": (transactional ids), …}`."""
        ...

    async def setup(self, test: Test) -> None:
        """Topics, first records; before any fault, not part of the history."""
        ...

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        """A new client for a slot (0 … concurrency-1; its role may depend on it) and process id."""
        ...

    def generator(self, test: Test) -> Generator:
        """The main phase; the runner ends it at the time limit."""
        ...

    def final_generator(self, test: Test) -> Generator | None:
        """After heal and recovery: drain and read everything back."""
        ...
