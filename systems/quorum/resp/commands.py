"""The commands: Redis' own for what they mean there, and those of the store, which begin with Q.

    QGET key [level]                    [value, version], or null where the key holds nothing
    QPUT key value [level]              the version that it got
    QDEL key [level]                    the same for a deletion
    QCAS key value EXPECT old | ABSENT  under conflict=raft: the version where the key held that, else null
    QROW key                            [column, value, …], or null
    QSETROW key column value …          all columns in one write
    QSIBLINGS key                       [context, value, …]: all concurrent values, and what a put has to pass back
    QPUTSIBLING key context value       context: as QSIBLINGS gave it, or "" for a blind put; answers as QSIBLINGS
    QREPLICAS key                       [node, what it holds as JSON or null, …] of the nodes that keep the key
    QRING key                           the preference list: the nodes that answer reads of the key
    QSTATE                              alive nodes, hints, anti-entropy, for health checks

`level` is ONE, QUORUM, ALL, ANY (writes) or a number. Errors: UNAVAILABLE is certainly without effect; TIMEOUT may
have taken effect.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from harness.node import NodeEnvironment
from systems.quorum.consensus.service import Consensus
from systems.quorum.coordinator import Coordinator
from systems.quorum.errors import Timeout, Unavailable
from systems.quorum.membership.service import Membership
from systems.quorum.messages import Read, State, Update
from systems.quorum.resp.protocol import Error, Simple
from systems.quorum.settings import copies
from systems.quorum.versions import Cell, WrongType
from systems.quorum.versions.crdt import NO_COUNTER, NO_SET, Counter, OrSet
from systems.quorum.versions.registers import Abd, Lww, Row
from systems.quorum.versions.siblings import EMPTY, Siblings

Handler = Callable[[list[bytes]], Awaitable[Any]]
VERSION = "7.0.0"
"""Of Redis, whose commands these are; clients ask."""


class Session:
    """What one connection has chosen."""

    def __init__(self) -> None:
        self.version = 2
        self.name = ""
        self.closing = False


class Commands:
    def __init__(
        self,
        env: NodeEnvironment,
        membership: Membership,
        coordinator: Coordinator,
        consensus: Consensus,
        state: Callable[[], State],
    ) -> None:
        self._env = env
        self._membership = membership
        self._coordinator = coordinator
        self._consensus = consensus
        self._state = state
        self._table: dict[str, tuple[Handler, int, int]] = {
            # name: (handler, fewest arguments, most arguments or -1)
            "GET": (self._get, 1, 1),
            "SET": (self._set, 2, 4),
            "DEL": (self._del, 1, -1),
            "EXISTS": (self._exists, 1, -1),
            "INCR": (self._incr, 1, 1),
            "DECR": (self._decr, 1, 1),
            "INCRBY": (self._incrby, 2, 2),
            "DECRBY": (self._decrby, 2, 2),
            "SADD": (self._sadd, 2, -1),
            "SREM": (self._srem, 2, -1),
            "SMEMBERS": (self._smembers, 1, 1),
            "SCARD": (self._scard, 1, 1),
            "HSET": (self._hset, 3, -1),
            "HGET": (self._hget, 2, 2),
            "HGETALL": (self._hgetall, 1, 1),
            "QGET": (self._qget, 1, 2),
            "QPUT": (self._qput, 2, 3),
            "QDEL": (self._qdel, 1, 2),
            "QCAS": (self._qcas, 3, 4),
            "QCOUNT": (self._qcount, 1, 1),
            "QROW": (self._qrow, 1, 1),
            "QSETROW": (self._qsetrow, 3, -1),
            "QSIBLINGS": (self._qsiblings, 1, 1),
            "QPUTSIBLING": (self._qputsibling, 3, 3),
            "QREPLICAS": (self._qreplicas, 1, 1),
            "QRING": (self._qring, 1, 1),
            "QSTATE": (self._qstate, 0, 0),
            "PING": (self._ping, 0, 1),
            "ECHO": (self._echo, 1, 1),
            "INFO": (self._info, 0, -1),
            "DBSIZE": (self._dbsize, 0, 0),
            "SELECT": (self._select, 1, 1),
            "COMMAND": (self._command, 0, -1),
            "CONFIG": (self._config, 1, -1),
        }

    async def run(self, session: Session, words: list[bytes]) -> Any:
        """The answer, or an `Error` as a value. Never raises for what a client sent."""
        name = words[0].decode(errors="replace").upper()
        arguments = words[1:]
        try:
            if name in ("HELLO", "CLIENT", "QUIT", "AUTH", "RESET"):
                return self._connection(session, name, [w.decode(errors="replace") for w in arguments])
            known = self._table.get(name)
            if known is None:
                shown = words[0].decode(errors="replace")[:128]
                return Error(f"ERR unknown command '{shown}'")
            handler, fewest, most = known
            if len(arguments) < fewest or (most >= 0 and len(arguments) > most):
                return Error(f"ERR wrong number of arguments for '{name.lower()}' command")
            return await handler(arguments)
        except Error as error:
            return error
        except WrongType:
            return Error("WRONGTYPE Operation against a key holding the wrong kind of value")
        except UnicodeDecodeError:
            return Error("ERR keys and values of this store are UTF-8")

    def _connection(self, session: Session, name: str, words: list[str]) -> Any:
        match name, [w.upper() for w in words]:
            case "HELLO", [] | ["2" | "3", *_]:
                if words:
                    session.version = int(words[0])
                return {
                    "server": "chaos-quorum",
                    "version": VERSION,
                    "proto": session.version,
                    "id": self._env.id,
                    "mode": "cluster",
                    "role": "master",
                    "modules": [],
                }
            case "HELLO", _:
                raise Error("NOPROTO unsupported protocol version")
            case "CLIENT", ["SETNAME", _]:
                session.name = words[1]
                return Simple("OK")
            case "CLIENT", ["GETNAME"]:
                return session.name
            case "CLIENT", ["SETINFO", *_]:
                return Simple("OK")
            case "CLIENT", ["ID"]:
                return self._env.id
            case "CLIENT", _:
                raise Error("ERR unknown subcommand of CLIENT: known are SETNAME, GETNAME, SETINFO, ID")
            case "QUIT", _:
                session.closing = True
                return Simple("OK")
            case "RESET", _:
                session.version = 2
                return Simple("RESET")
        raise Error("ERR this store asks for no password")

    # ── registers ────────────────────────────────────────────────────────────────────────────────────

    async def _get(self, words: list[bytes]) -> Any:
        cell = await self._read(words[0])
        if isinstance(cell, Counter):
            return str(cell.value)
        value, _ = _register(cell)
        return value

    async def _set(self, words: list[bytes]) -> Any:
        match [word.upper() for word in words[2:3]], words[3:]:
            case [], []:
                await self._write(words[0].decode(), words[1].decode())
            case [b"NX"], []:
                if await self._swap(words[0], words[1], None) is None:
                    return None
            case [b"IFEQ"], [old]:
                if await self._swap(words[0], words[1], old.decode()) is None:
                    return None
            case _:
                raise Error("ERR syntax error: known are SET key value [NX | IFEQ old]")
        return Simple("OK")

    async def _del(self, words: list[bytes]) -> Any:
        """How many held something, as far as a read before it knew."""
        held = 0
        for word in words:
            value, _ = _register(await self._read(word))
            held += value is not None
            await self._write(word.decode(), None, deleted=True)
        return held

    async def _exists(self, words: list[bytes]) -> Any:
        cells = [await self._read(word) for word in words]
        return sum(cell is not None and not getattr(cell, "deleted", False) for cell in cells)

    async def _qget(self, words: list[bytes]) -> Any:
        value, version = _register(await self._read(words[0], _level(words, 1, self._coordinator.copies)))
        return None if version is None else [value, *version]

    async def _qput(self, words: list[bytes]) -> Any:
        level = _level(words, 2, self._coordinator.copies)
        cell = await self._write(words[0].decode(), words[1].decode(), level=level)
        return _register(cell)[1]

    async def _qdel(self, words: list[bytes]) -> Any:
        level = _level(words, 1, self._coordinator.copies)
        return _register(await self._write(words[0].decode(), None, deleted=True, level=level))[1]

    async def _qcas(self, words: list[bytes]) -> Any:
        match [words[2].upper(), *words[3:]]:
            case [b"ABSENT"]:
                return await self._swap(words[0], words[1], None)
            case [b"EXPECT", old]:
                return await self._swap(words[0], words[1], old.decode())
        raise Error("ERR syntax error: QCAS key value EXPECT old, or QCAS key value ABSENT")

    async def _swap(self, key: bytes, value: bytes, expected: str | None) -> Any:
        """The version, or None where the key held something else."""
        if not self._consensus.on:
            raise Error("ERR compare-and-set needs consensus: start the cluster with --set conflict=raft")
        work = self._consensus.decide("swap", key.decode(), value.decode(), expected)
        decided = await self._guarded(work)
        return [decided.version] if decided.swapped else None

    async def _read(self, key: bytes, level: str | None = None) -> Cell | None:
        if self._consensus.on:
            decided = await self._guarded(self._consensus.decide("read", key.decode()))
            if decided.version:
                return Lww(decided.version, "", decided.value, decided.value is None)
            # A counter, a set: they need no consensus.
        cell: Cell | None = await self._guarded(self._coordinator.read(key.decode(), level))
        return cell

    async def _write(self, key: str, value: Any, *, deleted: bool = False, level: str | None = None) -> Cell:
        if self._consensus.on:
            agreed = await self._guarded(self._consensus.decide("delete" if deleted else "put", key, value))
            return Lww(agreed.version, "", value, deleted)
        work = self._coordinator.write(key, value, deleted=deleted, level=level)
        cell: Cell = await self._guarded(work)
        return cell

    async def _guarded(self, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except Unavailable as error:
            raise Error(f"UNAVAILABLE {error}") from None
        except Timeout as error:
            definite = "failed-write-reported-as-fail" in self._env.bugs
            raise Error(f"{'UNAVAILABLE' if definite else 'TIMEOUT'} {error}") from None

    # ── counters and sets ────────────────────────────────────────────────────────────────────────────

    async def _incr(self, words: list[bytes]) -> Any:
        return await self._count(words[0], 1)

    async def _decr(self, words: list[bytes]) -> Any:
        return await self._count(words[0], -1)

    async def _incrby(self, words: list[bytes]) -> Any:
        return await self._count(words[0], _integer(words[1]))

    async def _decrby(self, words: list[bytes]) -> Any:
        return await self._count(words[0], -_integer(words[1]))

    async def _count(self, key: bytes, delta: int) -> int:
        cell = await self._guarded(self._coordinator.update(Update(key.decode(), "count", delta)))
        return int(cell.value)

    async def _qcount(self, words: list[bytes]) -> Any:
        cell = await self._read(words[0])
        if not isinstance(cell, Counter | None):
            raise WrongType
        return (cell or NO_COUNTER).value

    async def _sadd(self, words: list[bytes]) -> Any:
        for element in words[1:]:
            await self._guarded(self._coordinator.update(Update(words[0].decode(), "add", element.decode())))
        return len(words) - 1

    async def _srem(self, words: list[bytes]) -> Any:
        """A removal takes away what it has seen: the adds that a read quorum knows, not only one replica."""
        key, gone = words[0].decode(), 0
        for word in words[1:]:
            seen = await self._guarded(self._coordinator.read(key))
            if not isinstance(seen, OrSet | None):
                raise WrongType
            if seen is None or word.decode() not in seen.elements:
                continue
            await self._guarded(self._coordinator.update(Update(key, "remove", word.decode(), base=seen)))
            gone += 1
        return gone

    async def _smembers(self, words: list[bytes]) -> Any:
        cell = await self._read(words[0])
        if not isinstance(cell, OrSet | None):
            raise WrongType
        return sorted((cell or NO_SET).elements)

    async def _scard(self, words: list[bytes]) -> Any:
        return len(await self._smembers(words))

    # ── rows and siblings ────────────────────────────────────────────────────────────────────────────

    async def _qrow(self, words: list[bytes]) -> Any:
        cell = await self._read(words[0])
        if cell is None:
            return None
        if not isinstance(cell, Row):
            raise WrongType
        return [part for name, column in sorted(cell.columns.items()) for part in (name, column.value)]

    async def _qsetrow(self, words: list[bytes]) -> Any:
        await self._write_row(words, "qsetrow")
        return Simple("OK")

    async def _hset(self, words: list[bytes]) -> Any:
        """How many columns were written: which of them are new, no node knows without a read."""
        return await self._write_row(words, "hset")

    async def _hget(self, words: list[bytes]) -> Any:
        return (await self._columns(words[0])).get(words[1].decode())

    async def _hgetall(self, words: list[bytes]) -> Any:
        return await self._columns(words[0])

    async def _write_row(self, words: list[bytes], command: str) -> int:
        names, values = words[1::2], words[2::2]
        if len(names) != len(values):
            raise Error(f"ERR wrong number of arguments for '{command}' command")
        columns = {name.decode(): value.decode() for name, value in zip(names, values, strict=True)}
        await self._guarded(self._coordinator.write_row(words[0].decode(), columns))
        return len(columns)

    async def _columns(self, key: bytes) -> dict[str, Any]:
        cell = await self._read(key)
        if not isinstance(cell, Row | None):
            raise WrongType
        return {} if cell is None else {n: c.value for n, c in sorted(cell.columns.items())}

    async def _qsiblings(self, words: list[bytes]) -> Any:
        cell = await self._read(words[0])
        if not isinstance(cell, Siblings | None):
            raise WrongType
        return _siblings(cell or EMPTY)

    async def _qputsibling(self, words: list[bytes]) -> Any:
        context = _context(words[1])
        update = Update(words[0].decode(), "put", words[2].decode(), context)
        return _siblings(await self._guarded(self._coordinator.update(update)))

    # ── the cluster, and the rest ────────────────────────────────────────────────────────────────────

    async def _qreplicas(self, words: list[bytes]) -> Any:
        key = words[0].decode()
        answer: list[Any] = []
        if self._consensus.on:
            for node in self._consensus.preferred(self._consensus.range_of(key)):
                try:
                    there = await self._consensus.held_at(node, key)
                except (OSError, TimeoutError):
                    raise Error(f"TIMEOUT {node} does not answer") from None
                answer += [node, msgspec.json.encode([there.version, there.value]) if there.version else None]
            return answer
        placement = self._membership.placement
        for node in placement.readers(key):
            try:
                found = await self._membership.ask(node, Read(key, placement.epoch))
            except (OSError, TimeoutError):
                raise Error(f"TIMEOUT {node} does not answer") from None
            held = None if found.cell is None else msgspec.json.encode(found.cell, order="deterministic")
            answer += [node, held]
        return answer

    async def _qring(self, words: list[bytes]) -> Any:
        return list(self._membership.placement.readers(words[0].decode()))

    async def _qstate(self, words: list[bytes]) -> Any:
        return msgspec.json.encode(self._state())

    async def _ping(self, words: list[bytes]) -> Any:
        return words[0] if words else Simple("PONG")

    async def _echo(self, words: list[bytes]) -> Any:
        return words[0]

    async def _info(self, words: list[bytes]) -> Any:
        state = self._state()
        lines = [
            "# Server",
            f"redis_version:{VERSION}",
            "redis_mode:cluster",
            f"node:{self._env.name}",
            "# Quorum",
            f"alive:{','.join(state.alive)}",
            f"hints:{state.hints}",
            "# Keyspace",
        ]
        return "\r\n".join(lines) + "\r\n"

    async def _dbsize(self, words: list[bytes]) -> Any:
        raise Error("ERR no node knows how many keys there are")

    async def _select(self, words: list[bytes]) -> Any:
        if words[0] != b"0":
            raise Error("ERR DB index is out of range")
        return Simple("OK")

    async def _command(self, words: list[bytes]) -> Any:
        if words and words[0].upper() == b"COUNT":
            return len(self._table)
        if words and words[0].upper() == b"DOCS":
            return {}
        return [
            [name.lower(), -(fewest + 1) if most != fewest else fewest + 1, [], 1, 1, 1]
            for name, (_, fewest, most) in sorted(self._table.items())
        ]

    async def _config(self, words: list[bytes]) -> Any:
        if words[0].upper() != b"GET":
            raise Error("ERR settings are given with --set when the cluster starts")
        wanted = [word.decode() for word in words[1:]]
        return {
            name: str(value)
            for name, value in sorted(self._env.config.items())
            if name in wanted or "*" in wanted
        }


def _register(cell: Cell | None) -> tuple[Any, list[Any] | None]:
    """Value and version."""
    if cell is None:
        return None, None
    if not isinstance(cell, Lww | Abd):
        raise WrongType
    return None if cell.deleted else cell.value, cell.version


def _siblings(cell: Siblings) -> list[Any]:
    context = base64.b64encode(msgspec.msgpack.encode(cell.clock)).decode()
    return [context, *(s.value for s in cell.values if not s.deleted)]


def _context(word: bytes) -> dict[str, int]:
    if not word:
        return {}
    try:
        return msgspec.msgpack.decode(base64.b64decode(word, validate=True), type=dict[str, int])
    except (ValueError, msgspec.MsgspecError):
        raise Error("ERR not a context: pass what QSIBLINGS gave, or an empty string") from None


def _integer(word: bytes) -> int:
    try:
        return int(word)
    except ValueError:
        raise Error("ERR value is not an integer or out of range") from None


def _level(words: list[bytes], at: int, n: int) -> str | None:
    if len(words) <= at:
        return None
    level = words[at].decode(errors="replace")
    try:
        copies(level, n)
    except ValueError:
        raise Error(f"ERR level '{level}': expected ONE, QUORUM, ALL, ANY or 1 to {n}") from None
    return level
