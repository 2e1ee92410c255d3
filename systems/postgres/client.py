"""Capability `transactions` over asyncpg. All keys live in one table of JSON, lists and registers alike.

What a transaction did before its COMMIT was sent is undone whatever happens, so that every failure until then is
definite. Of a COMMIT only the server's own word for an abort is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from harness.capabilities import DefiniteFailure, MicroOperation
from harness.cluster import Cluster

USER, DATABASE = "chaos", "postgres"
READ = "SELECT v FROM items WHERE k = $1"
WRITE = "INSERT INTO items (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v"
APPEND = "INSERT INTO items (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = items.v || EXCLUDED.v"
ABORTED = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IntegrityConstraintViolationError,
)


class PostgresTransactions:
    def __init__(self, cluster: Cluster, host: str, config: Mapping[str, Any]) -> None:
        self._address = cluster.address(cluster.topology.nodes[0].name, client=host)
        self._begin = f"BEGIN ISOLATION LEVEL {str(config['isolation']).replace('-', ' ').upper()}"
        self._connection: Any = None

    async def prepare(self) -> None:
        await self._connect()
        await self._connection.execute(
            "DROP TABLE IF EXISTS items; CREATE TABLE items (k text PRIMARY KEY, v jsonb NOT NULL)"
        )

    async def transact(self, operations: Sequence[MicroOperation]) -> list[MicroOperation]:
        try:
            await self._connect()
            await self._connection.execute(self._begin)
            done = [await self._do(*operation) for operation in operations]
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            await self._undo()
            raise DefiniteFailure(_told(error)) from None
        try:
            await self._connection.execute("COMMIT")
        except ABORTED as error:
            await self._undo()
            raise DefiniteFailure(_told(error)) from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(_told(error)) from None
        return done

    async def _do(self, f: str, key: str, argument: Any) -> MicroOperation:
        match f:
            case "r":
                held = await self._connection.fetchval(READ, key)
                return (f, key, None if held is None else json.loads(held))
            case "w":
                await self._connection.execute(WRITE, key, json.dumps(argument))
            case "append":
                await self._connection.execute(APPEND, key, json.dumps([argument]))
            case _:
                raise ValueError(f"unknown micro-operation {f!r}")
        return (f, key, argument)

    async def _connect(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                host=self._address.host, port=self._address.port, user=USER, database=DATABASE, ssl=False
            )

    async def _undo(self) -> None:
        """A new connection is surer than a ROLLBACK that may fail too, but costs a fork of the server."""
        if self._connection is None or self._connection.is_closed():
            return
        try:
            await self._connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._connection.terminate()

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
