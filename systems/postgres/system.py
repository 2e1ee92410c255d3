"""PostgreSQL as a system under test: one primary, started from what the machine has installed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from harness.catalogue import Entry
from harness.cluster import Cluster
from harness.errors import UserError
from harness.node import NodeEvent, NodeProgram
from harness.settings import Setting, Value
from harness.system import ClusterView
from harness.topology import NodeInfo, Topology
from systems.postgres.view import PostgresView

PORT = 5432
POLL_S = 0.1
PROMISES = {
    "read-committed": "read committed: no dirty write, no dirty read; each statement has its own snapshot",
    "repeatable-read": "snapshot isolation: one snapshot a transaction, the first committer wins; write skew is allowed",
    "serializable": "serializable: serializable snapshot isolation; real time is not promised to transactions that only read",
}


class PostgresSystem:
    """Registered as `postgres` under `chaos.systems`."""

    description = "PostgreSQL: a primary of its own in the run's folder (backend local)"
    capabilities = frozenset({"transactions"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="isolation",
            default="serializable",
            choices=tuple(PROMISES),
            scope="client",
            doc="Level that every transaction asks for",
        ),
        Setting(
            name="synchronous_commit",
            default="on",
            choices=("off", "local", "on"),
            scope="server",
            doc="What COMMIT waits for; `off` may lose acknowledged transactions in a crash",
        ),
    )
    profiles: Mapping[str, Mapping[str, Value]] = {}
    playground: Mapping[str, Value] = {}
    bugs: Mapping[str, str] = {}
    catalogue: Sequence[Entry] = ()
    situations: Mapping[str, str] = {}
    message_kinds: frozenset[str] = frozenset()

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        """One primary, whatever the count."""
        return (NodeInfo("pg1", "primary", 1, PORT),)

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        """Also what must be installed, so that its lack is told before anything starts."""
        if find_spec("asyncpg") is None:
            raise UserError("system 'postgres' needs its client: pip install 'chaos-harness[postgres]'")

    def program(self) -> NodeProgram:
        raise UserError("system 'postgres' is a program of its own and cannot be simulated: give --on local")

    def command(self) -> Sequence[str]:
        return ("-m", "systems.postgres")

    def view(self, topology: Topology) -> ClusterView:
        return PostgresView(topology)

    async def ready(self, cluster: Cluster) -> None:
        """It takes connections, which it refuses while it recovers from a crash."""
        import asyncpg

        from systems.postgres.client import DATABASE, USER

        address = cluster.address(cluster.topology.nodes[0].name, client="ready")
        while True:
            try:
                connection = await asyncpg.connect(
                    host=address.host, port=address.port, user=USER, database=DATABASE, ssl=False
                )
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(POLL_S)
                continue
            await connection.close()
            return

    async def recovered(self, cluster: Cluster) -> None:
        await self.ready(cluster)

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        from systems.postgres.client import PostgresTransactions

        return {"transactions": PostgresTransactions}[capability](cluster, host, config)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        return {}

    def promise(self, config: Mapping[str, Any]) -> str:
        lost = "; a crash may lose acknowledged commits" if config["synchronous_commit"] == "off" else ""
        return PROMISES[str(config["isolation"])] + lost
