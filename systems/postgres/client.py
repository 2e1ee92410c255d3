"""Capabilities `transactions` and `interactive-transactions` over asyncpg. All keys live in one table of JSON, lists
and registers alike.

What a transaction did before its COMMIT was sent is undone whatever happens, so that every failure until then is
definite. Of a COMMIT only the server's own word for an abort is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg

from harness.capabilities import DefiniteFailure, MicroOperation, Transaction
from harness.cluster import Cluster
from systems.postgres.connecting import Wanted, connect

T = TypeVar("T")
CAUGHT_UP = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
POLL_S = 0.05
READ = "SELECT v FROM items WHERE k = $1"
WRITE = "INSERT INTO items (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v"
APPEND = "INSERT INTO items (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = items.v || EXCLUDED.v"
ABORTED = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IntegrityConstraintViolationError,
)


class PostgresTransactions:
    """With `reads=standby` a transaction that only reads goes to the standby, which takes no other."""

    def __init__(self, cluster: Cluster, host: str, config: Mapping[str, Any]) -> None:
        servers = cluster.topology.nodes
        self._places = [cluster.address(node.name, client=host) for node in servers]
        self._begin = f"BEGIN ISOLATION LEVEL {str(config['isolation']).replace('-', ' ').upper()}"
        self._readers: Wanted = "standby" if config["reads"] == "standby" else "primary"
        self._held: dict[Wanted, Any] = {}

    async def prepare(self, initial: Mapping[str, Any] | None = None) -> None:
        connection = await self._connected("primary")
        await connection.execute(
            "DROP TABLE IF EXISTS items; CREATE TABLE items (k text PRIMARY KEY, v jsonb NOT NULL)"
        )
        await connection.executemany(
            WRITE, [(key, json.dumps(value)) for key, value in (initial or {}).items()]
        )
        if self._readers == "standby":
            written = await connection.fetchval("SELECT pg_current_wal_lsn()::text")
            reader = await self._connected("standby")
            caught_up = False
            while not caught_up:
                await asyncio.sleep(POLL_S)
                caught_up = await reader.fetchval(CAUGHT_UP, written)

    async def transact(self, operations: Sequence[MicroOperation]) -> list[MicroOperation]:
        async def all_of_them(transaction: Transaction) -> list[MicroOperation]:
            return [await transaction.do(*operation) for operation in operations]

        return await self.interact(all_of_them, read_only=all(f == "r" for f, _, _ in operations))

    async def interact(self, body: Callable[[Transaction], Awaitable[T]], *, read_only: bool = False) -> T:
        where: Wanted = self._readers if read_only else "primary"
        try:
            connection = await self._connected(where)
            await connection.execute(self._begin)
            answer = await body(_Open(connection))
        except DefiniteFailure:
            await self._undo(where)
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            await self._undo(where)
            raise DefiniteFailure(_told(error)) from None
        try:
            await connection.execute("COMMIT")
        except ABORTED as error:
            await self._undo(where)
            raise DefiniteFailure(_told(error)) from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(_told(error)) from None
        return answer

    async def _connected(self, where: Wanted) -> Any:
        held = self._held.get(where)
        if held is None or held.is_closed():
            held = self._held[where] = await connect(self._places, where)
        return held

    async def _undo(self, where: Wanted) -> None:
        """A new connection is surer than a ROLLBACK that may fail too, but costs a fork of the server."""
        held = self._held.get(where)
        if held is None or held.is_closed():
            return
        try:
            await held.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            held.terminate()

    async def close(self) -> None:
        for held in self._held.values():
            held.terminate()


class _Open:
    """`harness.capabilities.Transaction`, between BEGIN and COMMIT."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def do(self, f: str, key: str, argument: Any) -> MicroOperation:
        match f:
            case "r":
                return (f, key, await self.read(key))
            case "w":
                await self.write(key, argument)
            case "append":
                await self._connection.execute(APPEND, key, json.dumps([argument]))
            case _:
                raise ValueError(f"unknown micro-operation {f!r}")
        return (f, key, argument)

    async def read(self, key: str) -> Any:
        held = await self._connection.fetchval(READ, key)
        return None if held is None else json.loads(held)

    async def write(self, key: str, value: Any) -> None:
        await self._connection.execute(WRITE, key, json.dumps(value))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
