"""One server: whether it is primary or standby, with what data it starts, and what it says of itself.

What it is is decided at its start. It follows whoever is the primary; where nobody is, it starts as what it was.
A former primary that finds another one may hold commits that nobody else has: its data is thrown away for a copy of
the new primary's, as `pg_rewind` would do in place.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from harness.process import NodeFile
from systems.postgres import unprivileged
from systems.postgres.connecting import USER, connect
from systems.postgres.installation import program

PRIMARY_WAITS_S = 60.0
"""How long a standby without data waits for a primary to copy."""
POLL_S = 0.2
SILENCE = "3s"
"""After which a broken stream between the servers is given up and begun anew."""
EVERYBODY = "host all all all trust\nhost replication all all trust\n"
STATE = """
    SELECT pg_is_in_recovery(), (SELECT status FROM pg_stat_wal_receiver),
           CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END
"""


class PostgresServer:
    """`harness.foreign.ForeignNode`."""

    def __init__(self, file: NodeFile) -> None:
        self._file = file
        self._data = Path(file.data) / "postgres"
        self._others = [name for name in file.peers if name != file.name]

    def prepare(self) -> Sequence[str]:
        self._forget_the_dead()
        follows = self._begin()
        config = self._file.config
        settings = {
            "listen_addresses": self._file.listen[0],
            "port": str(self._file.listen[1]),
            "unix_socket_directories": "",
            "fsync": "on",
            "synchronous_commit": str(config["synchronous_commit"]),
            "synchronous_standby_names": "*" if config["synchronous_standby_names"] == "any" else "",
            "recovery_min_apply_delay": f"{config['recovery_min_apply_delay']}ms",
            "deadlock_timeout": "100ms",
            "shared_buffers": "32MB",
            "wal_keep_size": "256MB",
            "wal_sender_timeout": SILENCE,
            "wal_receiver_timeout": SILENCE,
            "wal_receiver_status_interval": "1s",
            "wal_retrieve_retry_interval": "200ms",
            "hot_standby_feedback": "on",
            "primary_conninfo": "" if follows is None else self._conninfo(follows),
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return unprivileged.command([program("postgres"), "-D", str(self._data), *words])

    def _forget_the_dead(self) -> None:
        """Removes the lock file of a server that was killed. The server asks only whether the process in it is
        there, and one that nobody has collected yet still is."""
        lock = self._data / "postmaster.pid"
        if not lock.exists():
            return
        pid = lock.read_text().partition("\n")[0]
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in "ZX":
            lock.unlink()

    def _begin(self) -> str | None:
        """Makes the data what this start needs. Whom it follows; None for a primary."""
        primary = self._primary()
        empty = not (self._data / "PG_VERSION").exists()
        if primary is not None:
            if empty or not self._follower():
                self._copy(primary)
            return primary
        first = self._file.topology.nodes[0].name
        if empty and self._file.name == first:
            self._make()
        elif empty:
            deadline = time.monotonic() + PRIMARY_WAITS_S
            while (primary := self._primary()) is None:
                if time.monotonic() > deadline:
                    sys.exit(f"there was no primary to copy for {PRIMARY_WAITS_S:g} s")
                time.sleep(POLL_S)
            self._copy(primary)
            return primary
        return self._others[0] if self._follower() else None

    def _follower(self) -> bool:
        return (self._data / "standby.signal").exists()

    def _primary(self) -> str | None:
        return next((name for name in self._others if asyncio.run(self._leads(name))), None)

    async def _leads(self, name: str) -> bool:
        try:
            connection = await connect([self._file.peers[name]])
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            return not await connection.fetchval("SELECT pg_is_in_recovery()")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()

    def _make(self) -> None:
        unprivileged.folder(self._data)
        unprivileged.run(
            (program("initdb"), "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8")
            + ("--no-locale", "-N")
        )
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(EVERYBODY)

    def _copy(self, primary: str) -> None:
        unprivileged.folder(self._data)
        host, port = self._file.peers[primary]
        unprivileged.run(
            (program("pg_basebackup"), "-h", host, "-p", str(port), "-U", USER, "-D", str(self._data))
            + ("-X", "stream", "-c", "fast", "-R", "--no-sync", "-w")
        )

    def _conninfo(self, primary: str) -> str:
        host, port = self._file.peers[primary]
        return f"host={host} port={port} user={USER} application_name={self._file.name} connect_timeout=3"

    async def look(self) -> Mapping[str, Any] | None:
        try:
            # A connection that is kept would keep the server from stopping when it is asked to.
            connection = await connect([self._file.listen])
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            return None
        try:
            standby, stream, timeline = await connection.fetchrow(STATE)
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            return None
        finally:
            connection.terminate()
        if standby:
            return {"role": "standby", "stream": stream or "none"}
        return {"role": "primary", "timeline": int(timeline, 16)}
