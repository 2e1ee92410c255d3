"""Redis as the harness sees it: what a cluster is made of, when it serves, and what it claims."""

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
from systems.redis import SENTINEL, SERVER, SERVICE
from systems.redis.view import RedisView

PORT, SENTINEL_PORT = 6379, 26379
ANSWER_S = 1.0
MOST_SENTINELS = 5
HOST = "harness"
"""The client host on whose behalf the harness itself asks."""

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="appendonly",
        default="yes",
        choices=("yes", "no"),
        scope="server",
        doc="Whether writes go to a file; without, a restarted server is empty",
    ),
    Setting(
        name="appendfsync",
        default="everysec",
        choices=("always", "everysec", "no"),
        scope="server",
        doc="When that file is made durable",
    ),
    Setting(
        name="min-replicas-to-write",
        default=0,
        minimum=0,
        scope="server",
        doc="A primary with fewer replicas than this refuses writes: bounds what a cut-off primary can lose",
    ),
    Setting(
        name="min-replicas-max-lag",
        default=10,
        minimum=1,
        scope="server",
        doc="Seconds of silence after which a replica no longer counts",
    ),
    Setting(
        name="repl-timeout",
        default=60,
        minimum=2,
        scope="server",
        doc="Seconds after which primary and replica give a silent link up",
    ),
    Setting(
        name="down-after-milliseconds",
        default=1_000,
        minimum=100,
        scope="sentinel",
        doc="Silence after which a Sentinel takes a server for dead",
    ),
    Setting(
        name="failover-timeout",
        default=5_000,
        minimum=1_000,
        scope="sentinel",
        doc="After half of this without success a failover is tried again; as in sentinel.conf, milliseconds",
    ),
    Setting(
        name="redis.wait",
        default=0,
        minimum=0,
        scope="client",
        doc="Every write is followed by WAIT for so many replicas",
    ),
    Setting(
        name="redis.reads",
        default="primary",
        choices=("primary", "any"),
        scope="client",
        doc="Whom reads go to",
    ),
    Setting(
        name="redis.timeout.ms",
        default=1_000,
        minimum=1,
        scope="client",
        doc="How long a client waits for a connection or an answer",
    ),
)


class RedisSystem(ForeignSystem):
    """Registered as `redis` under `chaos.systems`."""

    name, client_module, module = "redis", "redis", "systems.redis"
    description = (
        "Redis with replicas and Sentinel: asynchronous replication, automatic failover (not on sim)"
    )
    capabilities = frozenset({"key-value", "compare-and-set", "counters", "sets"})
    programs: Mapping[str, str] = {"redis-server": "redis-server", "redis-sentinel": "redis-sentinel"}
    debian_packages: tuple[str, ...] = tuple(programs.values())
    settings = (*SETTINGS, FAKETIME)
    situations: Mapping[str, str] = {
        "failed-over": "another server became the primary",
        "two-primaries": "a server was promoted while another one still took itself for the primary",
    }

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        """So many servers, and an odd number of Sentinels: three, or five from five servers on."""
        sentinels = MOST_SENTINELS if count >= MOST_SENTINELS else 3
        return (
            *(NodeInfo(f"r{i + 1}", SERVER, i + 1, PORT) for i in range(count)),
            *(NodeInfo(f"s{i + 1}", SENTINEL, 101 + i, SENTINEL_PORT) for i in range(sentinels)),
        )

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        self.needs_client()
        replicas = len(topology.with_role(SERVER)) - 1
        for key in ("redis.wait", "min-replicas-to-write"):
            if config[key] > replicas:
                raise UserError(
                    f"{key}={config[key]}: there are {replicas} replicas; lower it, or raise --nodes"
                )

    def subjects(self, config: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        return {"leader": (SERVICE,)}

    def view(self, topology: Topology) -> ClusterView:
        return RedisView(topology)

    async def whole(self, cluster: Cluster) -> bool:
        """All Sentinels name the same primary, all other servers replicate it, and all Sentinels know of that."""
        from systems.redis.client import node_at
        from systems.redis.connection import ask

        async def say(node: str, *words: str) -> Any:
            return await ask(cluster.address(node, client=HOST), ANSWER_S, *words)

        servers = [node.name for node in cluster.topology.with_role(SERVER)]
        sentinels = [node.name for node in cluster.topology.with_role(SENTINEL)]
        try:
            named = []
            for sentinel in sentinels:
                host, port = await say(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                named.append(node_at(cluster, host, int(port)))
                others = await say(sentinel, "SENTINEL", "SENTINELS", SERVICE)
                replicas = await say(sentinel, "SENTINEL", "REPLICAS", SERVICE)
                if len(others) < len(sentinels) - 1 or len(replicas) < len(servers) - 1:
                    return False
            if len(dict.fromkeys(named)) != 1 or named[0] is None:
                return False
            for server in servers:
                role, *more = await say(server, "ROLE")
                if (server == named[0]) != (role == "master"):
                    return False
                if role != "master" and (
                    more[2] != "connected" or node_at(cluster, more[0], int(more[1])) != named[0]
                ):
                    return False
        except (DefiniteFailure, OSError):
            return False
        return True

    async def wall_clock(self, cluster: Cluster, node: str) -> float:
        from systems.redis.connection import ask

        seconds, microseconds = await ask(cluster.address(node, client=HOST), ANSWER_S, "TIME")
        return int(seconds) + int(microseconds) / 1e6

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        from systems.redis.client import CLIENTS

        return CLIENTS[capability](cluster, host, config)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        primaries: dict[str, None] = {}
        counts = dict.fromkeys(self.situations, 0)
        first = True
        for event in events:
            if event.kind != STATE or "role" not in event.fields:
                continue
            if event.fields["role"] != "primary":
                primaries.pop(event.node, None)
            elif event.node not in primaries:
                counts["two-primaries"] += bool(primaries)
                counts["failed-over"] += not first
                primaries[event.node] = None
                first = False
        return counts

    def promise(self, config: Mapping[str, Any]) -> str:
        wait = f", after {config['redis.wait']} replicas have it in memory" if config["redis.wait"] else ""
        return f"acknowledged by the primary{wait}; replication is asynchronous: a failover may lose acknowledged writes"
