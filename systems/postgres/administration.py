"""What an operator does: looks whether the cluster is whole, and promotes a standby when the primary is dead."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg

from harness.cluster import Cluster, Evidence
from systems.postgres.connecting import connect

HOST = "harness"
"""The client host on whose behalf the harness itself asks."""
ANSWER_S = 5.0


async def whole(cluster: Cluster) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S), AsyncExitStack() as stack:
            primaries: list[Any] = []
            standbys: list[Any] = []
            for node in cluster.topology.nodes:
                connection = await _connected(cluster, node.name)
                stack.callback(connection.terminate)
                standby = await connection.fetchval("SELECT pg_is_in_recovery()")
                (standbys if standby else primaries).append(connection)
            if len(primaries) != 1:
                return False
            written = await primaries[0].fetchval("SELECT pg_current_wal_lsn()::text")
            return all([await _applied(connection, written) for connection in standbys])
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


async def _applied(standby: Any, written: str) -> bool:
    """It streams, and has applied the primary's log as far as that."""
    return bool(
        await standby.fetchval(
            "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn FROM pg_stat_wal_receiver WHERE status = 'streaming'",
            written,
        )
    )


async def promote(cluster: Cluster, node: str) -> Evidence:
    """Refused while another primary lives: they would both take writes, and neither would ever know."""
    for other in cluster.topology.nodes:
        if other.name != node and await _leads(cluster, other.name):
            return Evidence(False, f"{other.name} is the primary and lives")
    try:
        connection = await _connected(cluster, node)
        try:
            if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                return Evidence(False, f"{node} is the primary already")
            promoted = await connection.fetchval("SELECT pg_promote(true, 10)")
        finally:
            connection.terminate()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return Evidence(False, f"{node} was not promoted: {type(error).__name__}: {error}")
    return Evidence(bool(promoted), f"{node} {'is' if promoted else 'did not become'} the primary")


async def _leads(cluster: Cluster, node: str) -> bool:
    try:
        connection = await _connected(cluster, node)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    try:
        return not await connection.fetchval("SELECT pg_is_in_recovery()")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    finally:
        connection.terminate()


async def _connected(cluster: Cluster, node: str) -> Any:
    return await connect([cluster.address(node, client=HOST)])
