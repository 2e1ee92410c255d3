"""The database that workload `sink` writes to, outside the log: SQLite in this process, or PostgreSQL by its URL.

Two tables: `rows` (partition, "offset", value, writer), and `progress` (partition, next), the offsets that the sink
keeps itself. Every call is one transaction of the database; nothing of the log is in it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from harness.errors import UserError

Mode = Literal["insert", "upsert", "offsets"]
Row = tuple[str, int, str, str]
"""Partition, offset, value, writer."""


class Database(Protocol):
    async def write(self, rows: Sequence[Row], moved: Mapping[str, tuple[int, int]] | None) -> bool:
        """Adds the rows; with `moved` (partition -> (expected next offset, new next offset)) only if everybody
        stands where it is expected to, and moves them. False: somebody else has moved on, nothing was written."""
        ...

    async def progress(self) -> dict[str, int]: ...
    async def rows(self) -> list[Row]: ...
    async def close(self) -> None: ...


def _unique(mode: Mode) -> str:
    """A plain insert takes a record as often as it comes."""
    return ', unique (part, "offset")' if mode != "insert" else ""


def _tables(mode: Mode, serial: str) -> tuple[str, str]:
    return (
        f'create table rows (id {serial}, part text, "offset" bigint, value text, writer text{_unique(mode)})',
        "create table progress (part text primary key, next bigint)",
    )


_UPSERT = ' on conflict (part, "offset") do nothing'
"""Right for records of a log: what stands at an offset never changes."""


class SqliteDatabase:
    """One connection in memory for the whole run, shared by all processes, which take turns: each call is done at once,
    so that it happens whole or not at all."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        for statement in _tables(mode, "integer primary key"):
            self._connection.execute(statement)

    async def write(self, rows: Sequence[Row], moved: Mapping[str, tuple[int, int]] | None) -> bool:
        # A database takes its time, and a process may die while it waits.
        await asyncio.sleep(0.002)
        done = self._write(rows, moved)
        await asyncio.sleep(0.001)
        return done

    def _write(self, rows: Sequence[Row], moved: Mapping[str, tuple[int, int]] | None) -> bool:
        run = self._connection.execute
        run("begin")
        try:
            for partition, (expected, after) in sorted((moved or {}).items()):
                run("insert into progress values (?, 0) on conflict do nothing", (partition,))
                changed = run(
                    "update progress set next = ? where part = ? and next = ?", (after, partition, expected)
                )
                if changed.rowcount == 0:
                    run("rollback")
                    return False
            insert = 'insert into rows (part, "offset", value, writer) values (?, ?, ?, ?)'
            for row in rows:
                run(insert + (_UPSERT if self._mode == "upsert" else ""), row)
            run("commit")
        except BaseException:
            run("rollback")
            raise
        return True

    async def progress(self) -> dict[str, int]:
        return dict(self._connection.execute("select part, next from progress").fetchall())

    async def rows(self) -> list[Row]:
        return self._connection.execute(
            'select part, "offset", value, writer from rows order by id'
        ).fetchall()

    async def close(self) -> None:
        return None


class PostgresDatabase:
    """One connection a process, under a schema that `prepare` makes anew."""

    SCHEMA = "chaos_sink"

    def __init__(self, mode: Mode, url: str) -> None:
        self._mode, self._url = mode, url
        self._connection: Any = None

    async def prepare(self) -> None:
        connection = await self._connected()
        await connection.execute(f"drop schema if exists {self.SCHEMA} cascade")
        await connection.execute(f"create schema {self.SCHEMA}")
        for statement in _tables(self._mode, "bigserial primary key"):
            await connection.execute(statement)
        await self.close()

    async def _connected(self) -> Any:
        if self._connection is None:
            try:
                import asyncpg
            except ImportError:
                raise UserError(
                    "sink.url needs the PostgreSQL client: pip install 'chaos-harness[postgres]'"
                ) from None
            settings = {"search_path": self.SCHEMA}
            self._connection = await asyncpg.connect(self._url, server_settings=settings)
        return self._connection

    async def write(self, rows: Sequence[Row], moved: Mapping[str, tuple[int, int]] | None) -> bool:
        connection = await self._connected()
        transaction = connection.transaction()
        await transaction.start()
        for partition, (expected, after) in sorted((moved or {}).items()):
            await connection.execute("insert into progress values ($1, 0) on conflict do nothing", partition)
            changed = await connection.execute(
                "update progress set next = $1 where part = $2 and next = $3", after, partition, expected
            )
            if changed == "UPDATE 0":
                await transaction.rollback()
                return False
        insert = 'insert into rows (part, "offset", value, writer) values ($1, $2, $3, $4)'
        await connection.executemany(insert + (_UPSERT if self._mode == "upsert" else ""), rows)
        await transaction.commit()
        return True

    async def progress(self) -> dict[str, int]:
        connection = await self._connected()
        return {row["part"]: row["next"] for row in await connection.fetch("select part, next from progress")}

    async def rows(self) -> list[Row]:
        connection = await self._connected()
        found = await connection.fetch('select part, "offset", value, writer from rows order by id')
        return [tuple(row) for row in found]

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(timeout=2)
