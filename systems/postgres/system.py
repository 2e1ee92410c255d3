"""PostgreSQL as the harness sees it: what a cluster is made of, when it serves, and what it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.cluster import Cluster, Evidence
from harness.errors import UserError
from harness.faketime import SETTING as FAKETIME
from harness.foreign import STATE
from harness.foreign_system import ForeignSystem
from harness.node import NodeEvent
from harness.system import Change, ClusterView
from harness.topology import NodeInfo, Topology
from systems.postgres import GROUP, ROLE, STREAMING
from systems.postgres.settings import SETTINGS, promise
from systems.postgres.view import PostgresView

PORT = 5432


class PostgresSystem(ForeignSystem):
    """Registered as `postgres` under `chaos.systems`."""

    name, client_module, module = "postgres", "asyncpg", "systems.postgres"
    description = (
        "PostgreSQL: a primary of its own, by choice with a streaming standby (backends local and docker)"
    )
    capabilities = frozenset({"transactions", "interactive-transactions"})
    programs: Mapping[str, str] = {"psql": "postgresql"}
    unprivileged = True
    settings = (*SETTINGS, FAKETIME)
    situations: Mapping[str, str] = {"failed-over": "a standby became the primary"}
    message_kinds: frozenset[str] = frozenset()

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        """One server, or two with a standby, whatever the count."""
        servers = 2 if config["standby"] == STREAMING else 1
        return tuple(NodeInfo(f"pg{number}", ROLE, number, PORT) for number in range(1, servers + 1))

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        """Also what must be installed, so that its lack is told before anything starts."""
        self.needs_client()
        for key, value in (("reads", "standby"), ("synchronous_standby_names", "any")):
            if config[key] == value and config["standby"] != STREAMING:
                raise UserError(f"{key}={value}: there is no standby; give --set standby={STREAMING}")
        if config["reads"] == "standby" and config["isolation"] == "serializable":
            raise UserError(
                "reads=standby: PostgreSQL refuses SERIALIZABLE on a standby; give --set isolation=repeatable-read"
            )
        if config["synchronous_commit"] == "remote_apply" and config["synchronous_standby_names"] != "any":
            raise UserError(
                "synchronous_commit=remote_apply: no standby is synchronous; give --set synchronous_standby_names=any"
            )

    def subjects(self, config: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        return {"leader": (GROUP,)}

    def view(self, topology: Topology) -> ClusterView:
        return PostgresView(topology)

    async def wall_clock(self, cluster: Cluster, node: str) -> float:
        import asyncpg

        from systems.postgres.connecting import DATABASE, USER

        address = cluster.address(node, client="ready")
        try:
            connection = await asyncpg.connect(
                host=address.host, port=address.port, user=USER, database=DATABASE, ssl=False
            )
            said = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())")
            await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(str(error)) from None
        return float(said)

    async def whole(self, cluster: Cluster) -> bool:
        """Every server takes connections, one of them is the primary, and the other has applied what the primary had
        when it was asked."""
        from systems.postgres.administration import whole

        return await whole(cluster)

    async def administer(
        self, cluster: Cluster, change: Change, node: str, *, replaced: str | None = None
    ) -> Evidence:
        from systems.postgres.administration import promote

        if change != "promote":
            return Evidence(False, f"a PostgreSQL cluster cannot {change}: it is made with its servers")
        return await promote(cluster, node)

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        from systems.postgres.client import PostgresTransactions

        return PostgresTransactions(cluster, host, config)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        timelines = {e.fields["timeline"]: None for e in events if e.kind == STATE and "timeline" in e.fields}
        return {"failed-over": max(0, len(timelines) - 1)}

    def promise(self, config: Mapping[str, Any]) -> str:
        return promise(config)
