"""What a Raft node keeps on disk: one write-ahead file of checked records.

Record: length, CRC-32C, msgpack. A later `SaveEntries` overrides what an earlier one put at the same
indexes, so a truncation is no operation of its own. A snapshot rewrites the file under another name and
renames it. The commit index is noted without a sync: it only saves work after a restart.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import crc32c
import msgspec

from harness.node import Disk
from systems.raft.core import NOBODY, Change, Persistent, SaveEntries, SaveSnapshot, SaveVote
from systems.raft.log import RaftLog
from systems.raft.messages import Entry, Snapshot

_HEADER: Final = struct.Struct(">II")


class _Vote(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    term: int
    voted_for: int


class _Entries(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    first_index: int
    entries: tuple[Entry, ...]


class _Snapshot(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    snapshot: Snapshot
    entries: tuple[Entry, ...]


class _Commit(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    index: int


_Record: TypeAlias = _Vote | _Entries | _Snapshot | _Commit
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[_Record] = msgspec.msgpack.Decoder(_Record)


class RaftStorage:
    """The file `<folder>/wal` of a node's disk. One caller at a time."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._name = f"{folder}/wal"
        self._next_name = f"{folder}/wal.next"
        self._vote = _Vote(0, NOBODY)
        self._commit = 0

    def recover(self) -> tuple[Persistent, int]:
        """What was persisted, and the commit index noted last. Cuts off a torn tail: it was never synced,
        hence nobody was told of it."""
        if not self._disk.exists(self._name):
            return Persistent(), 0
        data = self._disk.read(self._name)
        log, whole = RaftLog(), 0
        for record, end in _records(data):
            whole = end
            match record:
                case _Vote():
                    self._vote = record
                case _Entries():
                    if record.first_index <= log.last_index:
                        log.truncate_from(record.first_index)
                    log.append(record.entries)
                case _Snapshot():
                    log = RaftLog(record.snapshot, record.entries)
                case _Commit():
                    self._commit = record.index
        if whole < len(data):
            self._disk.truncate(self._name, whole)
        # A node never was in a term below its entries'.
        term = max(self._vote.term, log.last_term)
        voted_for = self._vote.voted_for if term == self._vote.term else NOBODY
        return Persistent(term, voted_for, log), self._commit

    async def save(self, changes: Sequence[Change]) -> None:
        """Durable once this returns."""
        last_snapshot = max((i for i, c in enumerate(changes) if isinstance(c, SaveSnapshot)), default=None)
        for change in changes:
            if isinstance(change, SaveVote):
                self._vote = _Vote(change.term, change.voted_for)
        if last_snapshot is not None:
            await self._rewrite(changes[last_snapshot:])
            return
        self._disk.append(self._name, b"".join(_frame(_record(c)) for c in changes))
        await self._disk.fsync(self._name)

    def note_commit(self, index: int) -> None:
        self._commit = index
        if self._disk.exists(self._name):
            self._disk.append(self._name, _frame(_Commit(index)))

    async def _rewrite(self, changes: Sequence[Change]) -> None:
        """A new file that starts with the snapshot replaces the old one as a whole."""
        records: list[_Record] = [self._vote, _Commit(self._commit)]
        records.extend(_record(c) for c in changes if not isinstance(c, SaveVote))
        self._disk.write(self._next_name, b"".join(_frame(r) for r in records))
        await self._disk.fsync(self._next_name)
        self._disk.rename(self._next_name, self._name)
        await self._disk.fsync(self._name)


def _record(change: Change) -> _Record:
    match change:
        case SaveVote():
            return _Vote(change.term, change.voted_for)
        case SaveEntries():
            return _Entries(change.first_index, change.entries)
        case SaveSnapshot():
            return _Snapshot(change.snapshot, change.entries)


def _frame(record: _Record) -> bytes:
    body = _encode(record)
    return _HEADER.pack(len(body), crc32c.crc32c(body)) + body


def _records(data: bytes) -> Iterator[tuple[_Record, int]]:
    """Every whole record with where it ends; stops at the first that is torn or damaged."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, position)
        start, end = position + _HEADER.size, position + _HEADER.size + length
        body = data[start:end]
        # A length of zero is a page that was never written.
        if not length or end > len(data) or crc32c.crc32c(body) != checksum:
            return
        yield _decoder.decode(body), end
        position = end
