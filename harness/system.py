"""A system under test, as the engine sees it. Registered under `chaos.systems`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from harness.cluster import Cluster, Evidence
from harness.node import NodeEvent, NodeProgram
from harness.settings import Setting, Value
from harness.topology import NodeInfo, Topology


class ClusterView(Protocol):
    """The cluster's state as its nodes reported it, for selectors and for the report.

    Fed with every `NodeEvent` in order; answers the system's selector functions.
    """

    def observe(self, event: NodeEvent) -> None: ...

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        """Node names for `leader(orders/0)` and the like; empty where nobody is it now.
        Raises KeyError for a function this system does not have."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """JSON: partitions with leader, epoch, ISR; coordinators; controller. For live display."""
        ...


class System(Protocol):
    description: str
    capabilities: frozenset[str]
    """`log`, `transactions`, `groups`, `key-value`, …: what `client` offers (`harness.capabilities`)."""
    settings: tuple[Setting, ...]
    playground: Mapping[str, Value]
    """Settings whose defaults `chaos up` changes, for clients that nobody prepares anything for."""
    bugs: Mapping[str, str]
    """Name -> one line; see the catalogue."""
    situations: Mapping[str, str]
    """Named situations a run may reach -> one line. Counted by `count_situations`."""

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        """The processes of a cluster of this size, with their default ports."""
        ...

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        """Raises `UserError` for a contradictory configuration."""
        ...

    def program(self) -> NodeProgram:
        """The node's main coroutine, for backends that run it in-process."""
        ...

    def command(self) -> Sequence[str]:
        """The arguments of `python` that run one node for real: `("-m", "systems.broker")`."""
        ...

    def view(self, topology: Topology) -> ClusterView: ...

    async def ready(self, cluster: Cluster) -> None:
        """Returns when the cluster serves; the caller sets the time limit."""
        ...

    async def recovered(self, cluster: Cluster) -> None:
        """Returns when, after a heal, the cluster is whole again (all nodes in service, all replicas in sync)."""
        ...

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        """The capability's object for a client on that host, to be used inside `ClientHost.spawn`."""
        ...

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        """How often each named situation was reached; zeroes included."""
        ...

    def promise(self, config: Mapping[str, Any]) -> str:
        """The one-line guarantee of this configuration (semantics: what is claimed and what is not)."""
        ...


Change = Literal["join", "leave", "replace", "promote"]


@runtime_checkable
class Administered(Protocol):
    """What a system also has where nodes can come and go, or be promoted, while it serves. Those without it refuse
    `join`, `leave`, `replace` and `promote` before a run starts."""

    async def administer(
        self, cluster: Cluster, change: Change, node: str, *, replaced: str | None = None
    ) -> Evidence:
        """Tells the system, and returns when the change is complete; the caller sets the time limit.

        `join`: `node` was launched just now and is to take its part. `leave`: `node` is to hand on what it has;
        it is retired afterwards. `replace`: `node` was launched just now in place of `replaced`, which is lost.
        `promote`: `node` is to become the primary.
        Evidence False where the system refused: nothing has changed, nor ever will. An exception is a
        problem of the run.
        """
        ...


@runtime_checkable
class SpeaksInKinds(Protocol):
    """What a system also has where a fault can pick messages between its nodes by their kind."""

    @property
    def message_kinds(self) -> frozenset[str]:
        """The tags of its messages (`systems.rpc.Codec.kinds`)."""
        ...


@runtime_checkable
class Foreign(Protocol):
    """What a system also has that is made of programs that we did not write (`harness.foreign`)."""

    @property
    def programs(self) -> Mapping[str, str]:
        """Name of each program that a node needs -> the Debian package that has it."""
        ...


@runtime_checkable
class TellsTime(Protocol):
    """What a foreign system also has that can be asked for its wall clock, so that a fault of it can be verified."""

    async def wall_clock(self, cluster: Cluster, node: str) -> float:
        """Seconds since 1970 by the program's own clock. Raises `OSError` where it does not answer."""
        ...


@runtime_checkable
class Unprivileged(Protocol):
    """What a system also has whose programs refuse to run as root."""

    @property
    def unprivileged(self) -> bool: ...


@runtime_checkable
class NamesSubjects(Protocol):
    """What a system also has whose selectors take arguments that no workload knows of."""

    def subjects(self, config: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        """As in `harness.topology.Topology`: `{"leader": ("etcd",)}`."""
        ...


@runtime_checkable
class OffersByConfiguration(Protocol):
    """What a system also has where not every configuration has all its capabilities."""

    def offers(self, config: Mapping[str, Any]) -> frozenset[str]: ...


def offered(system: System, config: Mapping[str, Any]) -> frozenset[str]:
    """The capabilities that this configuration has."""
    return system.offers(config) if isinstance(system, OffersByConfiguration) else system.capabilities
