"""The bundled quorum store as a system under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.catalogue import Entry
from harness.cluster import Cluster, Evidence
from harness.errors import UserError, unknown_name
from harness.node import NodeEvent, NodeProgram
from harness.settings import Setting, Value
from harness.system import Change, ClusterView
from harness.topology import NodeInfo, Topology
from systems.quorum.bugs import BUGS
from systems.quorum.catalogue import CATALOGUE
from systems.quorum.promise import promise
from systems.quorum.settings import LEVELS, MAX_WEIGHT, PROFILES, SETTINGS, copies, weights
from systems.quorum.situations import REACHED_BY, REACHED_WITH, SITUATIONS, count_situations
from systems.quorum.view import QuorumView

PORT = 7000


class QuorumSystem:
    """Registered as `quorum` under `chaos.systems`."""

    description = "Dynamo / Cassandra-like store: N, R, W, hints, read repair, Merkle trees, LWW or ABD, siblings, CRDTs"
    capabilities = frozenset(
        {"key-value", "compare-and-set", "counters", "sets", "siblings", "rows", "replicas"}
    )
    settings: tuple[Setting, ...] = SETTINGS
    profiles: Mapping[str, Mapping[str, Value]] = PROFILES
    playground: Mapping[str, Value] = {}
    bugs: Mapping[str, str] = BUGS
    catalogue: Sequence[Entry] = CATALOGUE
    situations: Mapping[str, str] = SITUATIONS
    reached_by: Mapping[str, Sequence[str]] = REACHED_BY
    reached_with: Mapping[str, str] = REACHED_WITH

    @property
    def message_kinds(self) -> frozenset[str]:
        from systems.quorum.messages import CODEC

        return CODEC.kinds

    def offers(self, config: Mapping[str, Any]) -> frozenset[str]:
        if config["conflict"] == "raft":
            return self.capabilities
        return self.capabilities - {"compare-and-set"}

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Any key will do."""
        return {"owner": (), "outside": ()}

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        return tuple(NodeInfo(f"n{i}", "store", i, PORT) for i in range(1, count + 1))

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        n = int(config["replication.factor"])
        if n > len(topology.founders):
            raise UserError(
                f"replication.factor={n} needs as many nodes, there are {len(topology.founders)}: give --nodes {n} "
                f"or --set replication.factor={len(topology.founders)}"
            )
        _check_weights(topology, str(config["ring.weights"]))
        for name in ("read.quorum", "write.quorum"):
            level = str(config[name])
            try:
                copies(level, n)
            except ValueError:
                if not level.lstrip("-").isdigit():
                    raise unknown_name(f"level {name}", level, LEVELS) from None
                raise UserError(f"{name}={level}: expected 1 to {n}, or {', '.join(LEVELS)}") from None
        if str(config["read.quorum"]).upper() == "ANY":
            raise UserError("read.quorum=ANY: only a write may be a hint: give ONE")
        if config["conflict"] == "abd":
            r, w = copies(str(config["read.quorum"]), n), copies(str(config["write.quorum"]), n)
            if r + w <= n:
                raise UserError(
                    f"conflict=abd needs quorums that meet: R={r} and W={w} of N={n} do not; raise one of them, or "
                    "give --set conflict=lww"
                )

    def program(self) -> NodeProgram:
        from systems.quorum.node import run_quorum_node

        return run_quorum_node

    def command(self) -> Sequence[str]:
        return ("-m", "systems.quorum")

    def view(self, topology: Topology) -> ClusterView:
        return QuorumView(topology)

    async def administer(
        self, cluster: Cluster, change: Change, node: str, *, replaced: str | None = None
    ) -> Evidence:
        """As `harness.system.Administered`."""
        from systems.quorum.membership import state
        from systems.quorum.membership.administration import changed

        if change == "promote":
            return Evidence(False, "no node of this store is a primary")
        return await changed(cluster, state.Change(change, node, replaced or ""))

    async def ready(self, cluster: Cluster) -> None:
        from systems.quorum.health import serving

        await serving(cluster)

    async def recovered(self, cluster: Cluster) -> None:
        """Everybody sees everybody, no hint waits, anti-entropy (where it is on) has nothing to repair."""
        from systems.quorum.health import whole

        await whole(cluster)

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        """Raises KeyError for a capability that the store does not have."""
        from systems.quorum.client import CLIENTS

        return CLIENTS[capability](cluster, host, config)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        return count_situations(events)

    def promise(self, config: Mapping[str, Any]) -> str:
        return promise(config)


def _check_weights(topology: Topology, text: str) -> None:
    names = [node.name for node in topology.nodes]
    try:
        given = weights(text)
    except ValueError:
        raise UserError(
            f"ring.weights={text}: expected NODE=WEIGHT,… with weights above 0 and up to {MAX_WEIGHT}, as in n1=2,n3=0.5"
        ) from None
    for name in given:
        if name not in names:
            raise unknown_name("node of ring.weights", name, names)
