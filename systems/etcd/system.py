"""etcd as the harness sees it: what a cluster is made of, when it serves, and what it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import DefiniteFailure
from harness.cluster import Cluster
from harness.errors import UserError
from harness.faketime import SETTING as FAKETIME
from harness.foreign import STATE
from harness.foreign_system import ForeignSystem
from harness.node import NodeEvent
from harness.settings import Setting
from harness.system import ClusterView
from harness.topology import NodeInfo, Topology
from systems.etcd import GROUP, PEER, ROLE
from systems.etcd.view import EtcdView

PORT, PEER_PORT = 2379, 2380
ANSWER_S = 1.0
MOST_LAG = 10
"""Log entries that a member may be behind and still count as whole."""
HOST = "harness"
"""The client host on whose behalf the harness itself asks."""

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="heartbeat-interval",
        default=100,
        minimum=10,
        scope="member",
        doc="Milliseconds between a leader's heartbeats",
    ),
    Setting(
        name="election-timeout",
        default=1_000,
        minimum=50,
        scope="member",
        doc="Milliseconds of silence after which a follower stands for election",
    ),
    Setting(
        name="snapshot-count",
        default=100_000,
        minimum=1,
        scope="member",
        doc="Log entries after which a member writes a snapshot",
    ),
    Setting(
        name="etcd.reads",
        default="linearizable",
        choices=("linearizable", "serializable"),
        scope="client",
        doc="Whether a read asks the leader for what is committed, or takes what its member happens to have",
    ),
    Setting(
        name="etcd.timeout.ms",
        default=3_000,
        minimum=1,
        scope="client",
        doc="How long a client waits for an answer",
    ),
)


class EtcdSystem(ForeignSystem):
    """Registered as `etcd` under `chaos.systems`."""

    name, client_module, module = "etcd", "httpx", "systems.etcd"
    description = "etcd: one Raft group of members, linearizable unless asked for less (not on sim)"
    capabilities = frozenset({"key-value", "compare-and-set", "counters", "sets"})
    programs: Mapping[str, str] = {"etcd": "etcd-server"}
    debian_packages: tuple[str, ...] = tuple(programs.values())
    settings = (*SETTINGS, FAKETIME)
    situations: Mapping[str, str] = {"leader-changed": "another member was elected"}

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        return tuple(NodeInfo(f"e{i + 1}", ROLE, i + 1, PORT, ports={PEER: PEER_PORT}) for i in range(count))

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        self.needs_client()
        if config["election-timeout"] < 5 * config["heartbeat-interval"]:
            raise UserError(
                f"election-timeout={config['election-timeout']}: etcd asks for at least five heartbeat intervals "
                f"({5 * config['heartbeat-interval']} ms)"
            )

    def subjects(self, config: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        return {"leader": (GROUP,)}

    def view(self, topology: Topology) -> ClusterView:
        return EtcdView(topology)

    async def whole(self, cluster: Cluster) -> bool:
        """All members know one leader, and have applied what it has."""
        from systems.etcd.gateway import Gateway

        said: list[Any] = []
        for node in cluster.topology.nodes:
            gateway = Gateway(cluster.address(node.name, client=HOST), ANSWER_S)
            try:
                said.append(await gateway.call("maintenance/status"))
            except (DefiniteFailure, OSError):
                return False
            finally:
                await gateway.close()
        leaders = dict.fromkeys(each.get("leader", "0") for each in said)
        if len(leaders) != 1 or "0" in leaders:
            return False
        applied = [int(each.get("raftAppliedIndex", 0)) for each in said]
        return max(applied) - min(applied) <= MOST_LAG

    async def wall_clock(self, cluster: Cluster, node: str) -> float:
        """To the second."""
        from systems.etcd.gateway import Gateway

        gateway = Gateway(cluster.address(node, client=HOST), ANSWER_S)
        try:
            return await gateway.date()
        finally:
            await gateway.close()

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        from systems.etcd.client import CLIENTS

        return CLIENTS[capability](cluster, host, config)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        terms = [e.fields["term"] for e in events if e.kind == STATE and e.fields.get("role") == "leader"]
        return {"leader-changed": max(0, len(dict.fromkeys(terms)) - 1)}

    def promise(self, config: Mapping[str, Any]) -> str:
        if config["etcd.reads"] == "serializable":
            return "linearizable writes; serializable reads may be stale"
        return "linearizable: every read sees the last acknowledged write"
