"""The cluster: a running system on a backend, and the surface through which it is broken.

One protocol, several backends (`sim`, `local`, `docker`, `ssh`). Every fault method returns the evidence
that it has bitten; in simulation that is true by construction. Names are node names; links are directed
and also connect client hosts to nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from harness.node import Address, NodeEvent
from harness.topology import Topology

T = TypeVar("T")

How = Literal["drop", "reject", "hold"]
"""How a link is cut: silence; resets; or bytes are kept and delivered after the heal."""


class Evidence(msgspec.Struct, frozen=True):
    """Whether a fault (or heal) is known to have taken effect: True, False, or None (could not be probed)."""

    verified: bool | None
    detail: str = ""


class ClientHost(Protocol):
    """The machine (in simulation: host) that one client process runs on."""

    @property
    def name(self) -> str: ...

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Runs the coroutine on this host. The future is the caller's; when the host is killed it
        raises `ConnectionAbortedError`, while nothing of the coroutine runs again, not even a `finally`
        (in simulation) or only cancellation (elsewhere)."""
        ...

    async def kill(self) -> None:
        """The client process dies: everything it ran is dropped, its connections are reset. A later
        `spawn` is a new process on the same machine."""
        ...


class Cluster(Protocol):
    """A running system with its fault surface.

    `capabilities` is the set of fault kinds (`harness.schedule`) this backend can do; a test that needs
    more is refused before it starts.
    """

    @property
    def capabilities(self) -> frozenset[str]: ...
    @property
    def topology(self) -> Topology:
        """All nodes there may ever be, spares included."""
        ...

    @property
    def members(self) -> tuple[str, ...]:
        """The nodes that are part of it now, down or not, in the topology's order: all but spares that were
        not launched and nodes that were retired."""
        ...

    @property
    def events(self) -> Sequence[NodeEvent]:
        """What the nodes have said so far, in order."""
        ...

    def now_ns(self) -> int:
        """Nanoseconds since the cluster was created; virtual in simulation."""
        ...

    async def start(self) -> None:
        """Starts every node that is no spare."""
        ...

    async def stop(self) -> None: ...
    def running(self, node: str) -> bool: ...
    def client_host(self, name: str) -> ClientHost: ...
    def address(self, node: str, *, client: str) -> Address:
        """Where that client host reaches that node."""
        ...

    def on_event(self, callback: Callable[[NodeEvent], None]) -> None: ...

    async def kill(self, node: str) -> Evidence: ...
    async def restart(self, node: str) -> Evidence: ...
    async def pause(self, node: str) -> Evidence: ...
    async def resume(self, node: str) -> Evidence: ...
    async def power_fail(self, node: str, *, torn: bool = False) -> Evidence: ...
    async def wipe(self, node: str) -> Evidence:
        """Empties the disk of a node that is not running: a machine that comes back with a new disk."""
        ...

    async def fill_disk(self, node: str, *, full: bool) -> Evidence:
        """A full disk takes nothing more: `append`, `write` and the `fsync` of what is not yet durable raise
        `OSError(ENOSPC)`. It outlives the process; `full=False` lifts it."""
        ...

    async def slow_disk(self, node: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        """Adds to every fsync; outlives the process; zeroes lift it."""
        ...

    async def launch(self, node: str) -> Evidence:
        """Starts a node that is no member, on an empty disk: it is one now, but no founder
        (`NodeEnvironment.founder`); it is the system that must be told (`harness.system.Administered`)."""
        ...

    async def retire(self, node: str) -> Evidence:
        """Ends a node for good, running or not; its disk is gone and it is no member any more. A later
        `launch` is a new machine of the same name."""
        ...

    async def cut(self, source: str, target: str, *, how: How) -> Evidence: ...
    async def heal(self, source: str, target: str) -> Evidence: ...
    async def degrade(
        self,
        source: str,
        target: str,
        *,
        latency_ms: float,
        jitter_ms: float,
        loss: float = 0.0,
        bandwidth_kbps: float = 0.0,
        datagram_loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> Evidence:
        """The state of the link from now on, in full: all zeroes is a sound link.

        Latency and jitter are added to every packet. `loss` is the probability that a packet is lost: a datagram
        is gone, a stream waits for the retransmission. `bandwidth_kbps` is in kilobits a second, 0 without a
        limit. `datagram_loss` adds to the loss of datagrams; `duplicate` and `reorder` are probabilities that a datagram arrives twice, or so late that
        later ones overtake it; streams know neither.
        """
        ...

    async def delay_messages(
        self, source: str, target: str, *, kind: str, latency_ms: float, jitter_ms: float
    ) -> Evidence:
        """Delays the messages of one kind only (the tag of its struct, `systems.rpc`) between two nodes; others
        overtake them, among themselves they keep their order. Outlives the processes; zeroes lift it."""
        ...

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        """Wall clock = true time + offset, running at `rate` from now on. (0, 1.0) lifts it."""
        ...

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        """Calls `action(node)` when the node reaches the named protocol step; returns the disarming call."""
        ...


@runtime_checkable
class Rationed(Protocol):
    """What a cluster also has where the faults `cpu` and `memory` can be done. Both outlive the process."""

    async def limit_cpu(self, node: str, *, cores: float | None) -> Evidence:
        """Processor time in processors; None lifts it."""
        ...

    async def limit_memory(self, node: str, *, more_mb: float | None) -> Evidence:
        """It may get so much more than it has now; what asks for yet more is killed. None lifts it."""
        ...


@runtime_checkable
class Discerning(Protocol):
    """What a backend also has that can do to some systems less than to others."""

    def capabilities_with(self, system: Any) -> frozenset[str]: ...


@runtime_checkable
class HasClientMachines(Protocol):
    """What a backend also has whose client hosts are machines, with more to break than processes and links."""

    client_faults: frozenset[str]
    """Kinds that may be aimed at them, beside `harness.schedule.CLIENTS_TAKE`."""


@runtime_checkable
class SetsClocks(Protocol):
    """What a backend also has whose machines' own clocks may be set, if whoever owns them says so."""

    def sets_clocks(self, config: Mapping[str, Any]) -> bool: ...


Scenario = Callable[[Cluster], Awaitable[T]]
"""What a run does with a cluster; called inside the backend's event loop."""


class Backend(Protocol):
    """Where clusters run. Registered under `chaos.backends`."""

    description: str
    capabilities: frozenset[str]

    def check(self) -> list[tuple[str, bool, str]]:
        """What this machine needs for it: (requirement, met, how to fix). Printed by `chaos doctor`."""
        ...

    def run(
        self,
        scenario: Scenario[T],
        *,
        system: Any,
        topology: Topology,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path | None,
    ) -> T:
        """Creates the event loop and the cluster (not yet started), runs the scenario to its end, cleans up."""
        ...
