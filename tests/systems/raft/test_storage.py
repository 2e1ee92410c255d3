"""What a Raft node finds again after a restart."""

from __future__ import annotations

import asyncio
import random

import pytest

from systems.raft.core import SaveEntries, SaveSnapshot, SaveVote
from systems.raft.messages import Entry, Snapshot
from systems.raft.storage import RaftStorage
from tests.systems.raft.memory_disk import MemoryDisk


def saved(disk: MemoryDisk, *changes: SaveVote | SaveEntries | SaveSnapshot) -> RaftStorage:
    storage = RaftStorage(disk, "raft")
    storage.recover()
    asyncio.run(storage.save(changes))
    return storage


def entries(*terms: int) -> tuple[Entry, ...]:
    return tuple(Entry(t, b"%d" % t) for t in terms)


def test_a_new_disk_is_term_zero() -> None:
    persistent, commit = RaftStorage(MemoryDisk(), "raft").recover()
    assert (persistent.term, persistent.voted_for, persistent.log, commit) == (0, -1, None, 0)


def test_vote_and_entries_come_back_and_later_entries_replace_earlier_ones() -> None:
    disk = MemoryDisk()
    saved(disk, SaveVote(2, 3), SaveEntries(1, entries(1, 1, 1)), SaveEntries(2, entries(2)))
    persistent, _ = RaftStorage(disk, "raft").recover()
    assert (persistent.term, persistent.voted_for) == (2, 3)
    assert persistent.log is not None
    assert persistent.log.after(0, 9) == entries(1, 2)


def test_the_term_is_never_below_the_entries() -> None:
    disk = MemoryDisk()
    saved(disk, SaveVote(2, 3), SaveEntries(1, entries(5)))
    persistent, _ = RaftStorage(disk, "raft").recover()
    assert (persistent.term, persistent.voted_for) == (5, -1)


def test_a_snapshot_replaces_the_file() -> None:
    disk = MemoryDisk()
    storage = saved(disk, SaveVote(2, 3), SaveEntries(1, entries(*[1] * 500)))
    storage.note_commit(500)
    before = disk.size("raft/wal")
    asyncio.run(
        storage.save([SaveSnapshot(Snapshot(499, 1, b"state"), entries(1)), SaveEntries(501, entries(2))])
    )
    assert disk.size("raft/wal") < before / 4
    persistent, commit = RaftStorage(disk, "raft").recover()
    assert (persistent.term, persistent.voted_for, commit) == (2, 3, 500)
    assert persistent.log is not None
    assert persistent.log.snapshot == Snapshot(499, 1, b"state")
    assert persistent.log.after(499, 9) == entries(1, 2)


@pytest.mark.parametrize("seed", range(20))
def test_a_torn_or_damaged_tail_is_cut_off_and_appending_goes_on(seed: int) -> None:
    rng = random.Random(seed)
    disk = MemoryDisk()
    saved(disk, SaveVote(1, 1), SaveEntries(1, entries(1)))
    durable = disk.size("raft/wal")
    saved(disk, SaveEntries(2, entries(1, 1, 1)))
    if rng.random() < 0.5:
        disk.truncate("raft/wal", rng.randrange(durable, disk.size("raft/wal")))
    else:
        data = bytearray(disk.read("raft/wal"))
        data[rng.randrange(durable, len(data)) :] = bytes(rng.randrange(30))
        disk.write("raft/wal", bytes(data))
    saved(disk, SaveEntries(2, entries(7)))
    persistent, _ = RaftStorage(disk, "raft").recover()
    assert persistent.log is not None
    assert persistent.log.after(0, 9) == entries(1, 7)
