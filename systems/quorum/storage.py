"""A node's durable state: cells and hints in a commit log, with snapshots.

A record is length (4 bytes), crc32c (4 bytes) of what follows, msgpack. The log is cut at the first record that is
torn. A snapshot is written under another name, synced and renamed before the logs that it covers go, and begins with
the number of the last of them: a log that a power loss brings back, perhaps without its end, is never read over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

import crc32c
import msgspec

from harness.node import NodeEnvironment
from systems.quorum.versions import Cell
from systems.quorum.versions.crdt import NO_COUNTER, Counter, counted, summed

_HEADER: Final = struct.Struct(">II")
SNAPSHOT: Final = "snapshot"
LOG: Final = "commitlog-"


class Hint(msgspec.Struct, frozen=True, tag="hint"):
    """`since`: when its write was sent, by the wall clock of the coordinator, in nanoseconds. Whoever holds it later, it is
    as old as its write: a deletion that came after is forgotten no earlier than the hint."""

    number: int
    target: str
    key: str
    cell: Cell
    since: int


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """`cell` None: the key was purged."""

    key: str
    cell: Cell | None


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """Of a store that logs what was added and not what there was then: no replay may meet it twice."""

    key: str
    actor: str
    delta: int


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    number: int


class Note(msgspec.Struct, frozen=True, tag="note"):
    """What this node must remember of itself: the last one of its name counts."""

    name: str
    data: bytes


class Covered(msgspec.Struct, frozen=True, tag="covered"):
    """A snapshot holds whatever the logs up to this one say."""

    log: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept | Counted | Hint | Delivered | Note | Covered).decode


class Storage:
    """`cells`, `hints` and `notes` are read freely; they change through the methods only."""

    def __init__(self, env: NodeEnvironment) -> None:
        self._env = env
        self._disk = env.disk
        self.cells: dict[str, Cell] = {}
        self.hints: dict[int, Hint] = {}
        self.notes: dict[str, bytes] = {}
        self.changed: dict[str, None] = {}
        """Keys that changed since anti-entropy looked."""
        self._hint_number = 0
        self._appended = self._durable = 0
        self._sequences: dict[str, int] = {}
        self._log_number = 0
        self._snapshotting: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._next_sync: asyncio.Future[None] | None = None
        self._batch = env.config["commitlog.sync"] == "batch"
        self._logs_deltas = "counter-delta-log-replay" in env.bugs
        self._snapshot_bytes = int(env.config["commitlog.snapshot.bytes"])
        self._recover()

    # ── reading back ─────────────────────────────────────────────────────────────────────────────────

    def _recover(self) -> None:
        if self._disk.exists(SNAPSHOT):
            for record in self._records(SNAPSHOT):
                self._apply(record)
        covered = self._log_number
        for name in self._disk.list(LOG):
            number = int(name.removeprefix(LOG))
            # States may be replayed over a snapshot that has them; with deltas this is the mistake.
            if number <= covered and not self._logs_deltas:
                self._disk.remove(name)
                continue
            for record in self._records(name):
                self._apply(record)
            self._log_number = number
        self._log_number += 1

    def _records(self, name: str) -> Iterator[Any]:
        data = self._disk.read(name)
        start = 0
        while start + _HEADER.size <= len(data):
            length, checksum = _HEADER.unpack_from(data, start)
            body = data[start + _HEADER.size : start + _HEADER.size + length]
            if len(body) < length or crc32c.crc32c(body) != checksum:
                break
            yield _decode(body)
            start += _HEADER.size + length
        if start < len(data):
            self._env.emit("torn-log", file=name, kept=start, dropped=len(data) - start)
            self._disk.truncate(name, start)

    def _apply(self, record: Kept | Counted | Hint | Delivered | Note | Covered) -> None:
        match record:
            case Covered():
                self._log_number = record.log
            case Kept():
                self.changed[record.key] = None
                if record.cell is None:
                    self.cells.pop(record.key, None)
                elif self._logs_deltas and isinstance(record.cell, Counter):
                    self.cells[record.key] = summed(self._counter(record.key), record.cell)
                else:
                    self.cells[record.key] = record.cell
            case Counted():
                self.changed[record.key] = None
                self.cells[record.key] = counted(self._counter(record.key), record.delta, record.actor)
            case Hint():
                self.hints[record.number] = record
                self._hint_number = max(self._hint_number, record.number)
            case Delivered():
                self.hints.pop(record.number, None)
            case Note():
                self.notes[record.name] = record.data

    def _counter(self, key: str) -> Counter:
        held = self.cells.get(key)
        return held if isinstance(held, Counter) else NO_COUNTER

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────

    async def keep(self, key: str, cell: Cell | None) -> None:
        """Visible at once, and durable as `commitlog.sync` asks when this returns. The caller has merged."""
        self._append(Kept(key, cell))
        await self._acknowledgeable()

    async def count(self, key: str, delta: int, actor: str, cell: Cell) -> None:
        """`cell` is what there is then."""
        self._append(Counted(key, actor, delta) if self._logs_deltas else Kept(key, cell))
        await self._acknowledgeable()

    async def add_hint(self, target: str, key: str, cell: Cell, since: int) -> None:
        self._hint_number += 1
        self._append(Hint(self._hint_number, target, key, cell, since))
        await self._acknowledgeable()

    async def drop_hint(self, number: int) -> None:
        """Needs no sync: a hint that is delivered twice is merged twice."""
        if number in self.hints:
            self._append(Delivered(number))

    def note(self, name: str, data: bytes) -> None:
        """Visible at once; durable when `hardened` returns."""
        self._append(Note(name, data))

    def forget(self, keys: Iterable[str]) -> None:
        """Of what this node has no right to any more. Durable no later than whatever is noted after it."""
        for key in keys:
            self._append(Kept(key, None))

    def _append(self, record: Kept | Counted | Hint | Delivered | Note) -> None:
        body = _encode(record)
        name = f"{LOG}{self._log_number:08}"
        size = self._disk.append(name, _HEADER.pack(len(body), crc32c.crc32c(body)) + body)
        self._appended += 1
        if isinstance(record, Kept | Counted):
            self._sequences[record.key] = self._appended
        self._apply(record)
        if size >= self._snapshot_bytes and self._snapshotting is None:
            self._snapshotting = asyncio.ensure_future(self._snapshot())

    async def _snapshot(self) -> None:
        """What is written meanwhile goes to the next log, which the snapshot does not cover."""
        try:
            covered = self._log_number
            self._log_number += 1
            cells = (Kept(k, c) for k, c in self.cells.items())
            notes = (Note(name, data) for name, data in self.notes.items())
            records = [Covered(covered), *cells, *self.hints.values(), *notes]
            data = bytearray()
            for record in records:
                body = _encode(record)
                data += _HEADER.pack(len(body), crc32c.crc32c(body)) + body
            new = f"new-{SNAPSHOT}"
            self._disk.write(new, bytes(data))
            await self._disk.fsync(new)
            self._disk.rename(new, SNAPSHOT)
            await self._disk.fsync(SNAPSHOT)
            self._env.step("store.snapshot.renamed")
            for name in self._disk.list(LOG):
                if int(name.removeprefix(LOG)) <= covered:
                    self._disk.remove(name)
            self._env.step("store.snapshot.written")
        finally:
            self._snapshotting = None

    # ── durability ───────────────────────────────────────────────────────────────────────────────────

    async def settled(self, key: str) -> None:
        """Returns when what is visible of the key may be told: a reader must not rely on what a power loss takes."""
        if self._batch and self._sequences.get(key, 0) > self._durable:
            await self._synced()

    async def hardened(self) -> None:
        """Returns when everything so far survives a power loss, whatever `commitlog.sync` asks."""
        if self._appended > self._durable:
            await self._synced()

    async def _acknowledgeable(self) -> None:
        if self._batch:
            await self._synced()

    async def _synced(self) -> None:
        """Group commit: one sync covers whatever was appended before it began."""
        if self._next_sync is None:
            self._next_sync = asyncio.get_running_loop().create_future()
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.ensure_future(self._sync())
        await asyncio.shield(self._next_sync)

    async def _sync(self) -> None:
        while self._next_sync is not None:
            covered, self._next_sync = self._next_sync, None
            appended = self._appended
            try:
                for name in self._disk.list(LOG):
                    # A snapshot may have taken its place meanwhile, and that is synced.
                    with contextlib.suppress(FileNotFoundError):
                        await self._disk.fsync(name)
            except OSError as error:
                if not covered.done():
                    covered.set_exception(error)
                    covered.exception()
                raise
            self._durable = max(self._durable, appended)
            if not covered.done():
                covered.set_result(None)

    async def sync_periodically(self) -> None:
        period_s = int(self._env.config["commitlog.sync.period.ms"]) / 1000
        while not self._batch:
            await asyncio.sleep(period_s)
            await self._synced()
