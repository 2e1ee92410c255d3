"""What a node of the store finds again after a crash, at whatever point it came."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from systems.quorum.settings import SETTINGS
from systems.quorum.storage import LOG, SNAPSHOT, Storage
from systems.quorum.versions import Cell
from systems.quorum.versions.crdt import NO_COUNTER, Counter, counted
from systems.quorum.versions.registers import Lww
from tests.systems.broker.memory_environment import MemoryDisk, MemoryEnvironment

NONE: frozenset[str] = frozenset()
DEFAULTS: Mapping[str, Any] = {setting.name: setting.default for setting in SETTINGS}


class LossyDisk(MemoryDisk):
    """`power_lost` is what a power loss after so many changes leaves: what was synced, and no renaming, removal or
    creation that no later sync committed."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: dict[str, bytearray] = {}
        self.synced: dict[int, bytes] = {}
        self.moments: list[dict[str, bytes]] = [{}]

    def append(self, name: str, data: bytes) -> int:
        size = super().append(name, data)
        self._moment()
        return size

    def write(self, name: str, data: bytes) -> None:
        super().write(name, data)
        self._moment()

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self._moment()

    def remove(self, name: str) -> None:
        super().remove(name)
        self._moment()

    async def fsync(self, name: str) -> None:
        await asyncio.sleep(0)
        self.synced[id(self._file(name))] = bytes(self._file(name))
        self.committed = dict(self.files)
        self._moment()
        await asyncio.sleep(0)

    def _moment(self) -> None:
        self.moments.append({n: self.synced.get(id(f), b"") for n, f in self.committed.items()})


def environment(disk: MemoryDisk | None = None, **config: Any) -> MemoryEnvironment:
    env = MemoryEnvironment(config={**DEFAULTS, **config})
    env.disk = disk or MemoryDisk()
    return env


def reopened(files: Mapping[str, bytes]) -> tuple[Storage, MemoryEnvironment]:
    disk = MemoryDisk()
    for name, data in files.items():
        disk.write(name, data)
    env = environment(disk)
    return Storage(env), env


def value(storage: Storage, key: str) -> Any:
    cell = storage.cells.get(key)
    return cell.value if isinstance(cell, Lww) else None


def written(number: int) -> Cell:
    return Lww(number, "n1", number)


def contents(disk: MemoryDisk) -> dict[str, bytes]:
    return {name: bytes(data) for name, data in disk.files.items()}


def test_what_was_written_last_comes_back_and_a_purged_key_does_not() -> None:
    env = environment()

    async def scenario() -> None:
        storage = Storage(env)
        await storage.keep("a", written(1))
        await storage.keep("a", written(2))
        await storage.keep("b", written(3))
        await storage.keep("b", None)
        await storage.add_hint("n2", "a", written(4), 0)
        await storage.add_hint("n3", "a", written(5), 0)
        await storage.drop_hint(1)

    asyncio.run(scenario())
    storage, _ = reopened(contents(env.disk))
    assert value(storage, "a") == 2
    assert "b" not in storage.cells
    assert [hint.target for hint in storage.hints.values()] == ["n3"]


def test_a_log_that_is_cut_anywhere_gives_a_prefix_and_goes_on_behind_it() -> None:
    env = environment()

    async def scenario() -> None:
        storage = Storage(env)
        for number in range(1, 6):
            await storage.keep("a", written(number))

    asyncio.run(scenario())
    (name,) = env.disk.list(LOG)
    whole = contents(env.disk)[name]
    seen = []
    for size in range(len(whole) + 1):
        storage, again = reopened({name: whole[:size]})
        seen.append(value(storage, "a") or 0)
        asyncio.run(storage.keep("b", written(9)))
        after, _ = reopened(contents(again.disk))
        assert (value(after, "a") or 0, value(after, "b")) == (seen[-1], 9)
    assert seen == sorted(seen)
    assert set(seen) == set(range(6))


def test_a_flipped_bit_ends_the_log_there() -> None:
    env = environment()

    async def scenario() -> None:
        storage = Storage(env)
        for number in (1, 2, 3):
            await storage.keep("a", written(number))

    asyncio.run(scenario())
    (name,) = env.disk.list(LOG)
    data = bytearray(env.disk.read(name))
    data[-1] ^= 1
    storage, again = reopened({name: bytes(data)})
    assert value(storage, "a") == 2
    assert [kind for kind, _ in again.events] == ["torn-log"]


@pytest.mark.parametrize("batch", [True, False])
def test_no_power_loss_around_a_snapshot_takes_what_was_acknowledged(batch: bool) -> None:
    """Whatever was acknowledged before the loss is there after it; without batch sync, what is there is never older
    than what an earlier moment would have left."""
    disk = LossyDisk()
    env = environment(
        disk,
        **{"commitlog.sync": "batch" if batch else "periodic", "commitlog.snapshot.bytes": 1024},
    )
    acknowledged = [0]

    async def scenario() -> None:
        storage = Storage(env)
        for number in range(1, 200):
            await storage.keep(f"k{number % 3}", written(number))
            acknowledged.extend([acknowledged[-1]] * (len(disk.moments) - len(acknowledged)))
            acknowledged.append(number)
            disk.moments.append(disk.moments[-1])
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert SNAPSHOT in disk.files
    before = 0
    for promised, files in zip(acknowledged, disk.moments, strict=False):
        storage, _ = reopened(files)
        newest = max((value(storage, key) for key in storage.cells), default=0)
        if batch:
            assert newest >= promised
        assert newest >= before
        before = newest


def test_a_log_that_comes_back_without_its_end_is_not_read_over_the_snapshot_that_covers_it() -> None:
    env = environment(**{"commitlog.snapshot.bytes": 1024})
    logs: dict[str, bytes] = {}

    async def scenario() -> None:
        storage = Storage(env)
        number = 0
        while SNAPSHOT not in env.disk.files:
            number += 1
            await storage.keep("a", written(number))
            logs.update({name: bytes(env.disk.files[name]) for name in env.disk.list(LOG)})

    asyncio.run(scenario())
    last, _ = reopened(contents(env.disk))
    first = min(logs)
    storage, _ = reopened({**contents(env.disk), first: logs[first][:100]})
    assert value(storage, "a") == value(last, "a")


@pytest.mark.parametrize(("bugs", "over"), [(NONE, False), (frozenset({"counter-delta-log-replay"}), True)])
def test_a_crash_before_the_logs_go_counts_nothing_twice(bugs: frozenset[str], over: bool) -> None:
    """The snapshot is there, and so are the logs that it covers."""
    env = environment(**{"commitlog.snapshot.bytes": 1024})
    env.bugs = bugs
    left: list[dict[str, bytes]] = []
    env.step = lambda name: left.append(contents(env.disk))  # type: ignore[method-assign]
    counter = NO_COUNTER

    async def scenario() -> None:
        nonlocal counter
        storage = Storage(env)
        while not left:
            counter = counted(counter, 1, "n1-a")
            await storage.count("c", 1, "n1-a", counter)

    asyncio.run(scenario())
    again = environment(MemoryDisk())
    again.bugs = bugs
    for name, data in left[0].items():
        again.disk.write(name, data)
    found = Storage(again).cells["c"]
    assert isinstance(found, Counter)
    assert (found.value > counter.value) is over
    assert over or found == counter


def test_a_reader_waits_for_the_disk_that_the_writer_waits_for() -> None:
    disk = LossyDisk()
    env = environment(disk)

    async def scenario() -> list[str]:
        storage = Storage(env)
        order = []

        async def write() -> None:
            await storage.keep("a", written(1))
            order.append("written")

        async def read() -> None:
            await storage.settled("a")
            order.append("read")
            assert disk.synced

        writing = asyncio.ensure_future(write())
        await asyncio.sleep(0)
        assert value(storage, "a") == 1
        await asyncio.gather(writing, read())
        return order

    assert asyncio.run(scenario()) == ["written", "read"]
