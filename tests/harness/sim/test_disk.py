"""What a disk keeps: everything over a process's death, what was fsynced over a power loss."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clusters.sim import SimCluster
from harness.sim.choices import Choices
from harness.sim.disk import SimDisk
from harness.sim.settings import physics
from tests.harness.sim.toy import run


def on_disk(use: Callable[[SimDisk, SimCluster], Awaitable[Any]], seed: int = 0) -> Any:
    async def scenario(cluster: SimCluster) -> Any:
        return await use(cluster._world.host("b1").disk, cluster)

    return run(scenario, seed=seed)


def test_files_by_name() -> None:
    disk = SimDisk(Choices(0), physics({}))
    assert disk.append("a/2", b"hello") == 5
    assert disk.append("a/2", b" world") == 11
    disk.write("a/1", b"one")
    disk.write("b", b"")
    assert disk.list() == ["a/1", "a/2", "b"]
    assert disk.list("a/") == ["a/1", "a/2"]
    assert disk.read("a/2", 6) == b"world"
    assert disk.read("a/2", 6, 2) == b"wo"
    assert disk.read("a/2", 100, 2) == b""
    disk.truncate("a/2", 5)
    assert (disk.size("a/2"), disk.read("a/2")) == (5, b"hello")
    disk.truncate("a/2", 7)
    assert disk.read("a/2") == b"hello\0\0"
    disk.rename("a/2", "a/1")
    assert disk.list() == ["a/1", "b"]
    assert disk.read("a/1") == b"hello\0\0"
    disk.remove("b")
    assert not disk.exists("b")
    for missing in (disk.read, disk.size, disk.remove):
        with pytest.raises(FileNotFoundError):
            missing("nowhere")


def test_a_full_disk() -> None:
    disk = SimDisk(Choices(0), physics({}))
    disk.capacity = 10
    disk.append("a", b"12345")
    with pytest.raises(OSError) as caught:
        disk.append("a", b"678901")
    assert caught.value.errno == errno.ENOSPC
    assert disk.read("a") == b"12345"
    disk.append("b", b"67890")
    with pytest.raises(OSError):
        disk.write("b", b"678901")
    disk.remove("a")
    disk.write("b", b"6789012345")


def test_fsync_takes_its_time_and_survives_power_loss() -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        disk.append("log", b"one")
        began = cluster.now_ns()
        await disk.fsync("log")
        assert 1_000_000 <= cluster.now_ns() - began < 4_000_000
        disk.append("log", b"two")
        disk.append("new", b"never synced")
        assert disk.unsynced() == 15
        assert (await cluster.power_fail("b1")).verified
        assert disk.read("log") == b"one"
        assert disk.list() == ["log"]

    on_disk(use)


def test_a_process_kill_loses_nothing() -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        await cluster.start()
        disk.append("log", b"page cache")
        await cluster.kill("b1")
        await cluster.restart("b1")
        assert disk.read("log") == b"page cache"

    on_disk(use)


def test_an_fsync_covers_what_was_there_when_it_began() -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        disk.append("log", b"before")
        syncing = asyncio.ensure_future(disk.fsync("log"))
        await asyncio.sleep(0.0002)
        disk.append("log", b" during")
        await syncing
        disk.lose_power(torn=False)
        assert disk.read("log") == b"before"

    on_disk(use)


def test_power_lost_during_an_fsync_may_not_count_as_synced() -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        disk.append("log", b"x")
        syncing = asyncio.ensure_future(disk.fsync("log"))
        await asyncio.sleep(0.0002)
        disk.lose_power(torn=False)
        await asyncio.sleep(1)
        assert not syncing.done()
        assert disk.list() == []

    on_disk(use)


@pytest.mark.parametrize("during", [False, True])
def test_an_unsynced_truncation_or_rewrite_is_undone(during: bool) -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        disk.append("log", b"0123456789")
        disk.write("state", b"old")
        await disk.fsync("state")
        syncing = asyncio.ensure_future(disk.fsync("log"))
        if not during:
            await syncing
        await asyncio.sleep(0.0002)
        disk.truncate("log", 4)
        disk.append("log", b"abc")
        disk.write("state", b"newer")
        await syncing
        assert disk.read("log") == b"0123abc"
        disk.lose_power(torn=True)
        assert disk.read("log") == b"0123456789"
        assert disk.read("state") == b"old"

    on_disk(use)


def test_write_fsync_rename_is_atomic() -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        disk.write("vote", b"term 1")
        await disk.fsync("vote")
        disk.write("vote.tmp", b"term 2")
        await disk.fsync("vote.tmp")
        disk.rename("vote.tmp", "vote")
        disk.lose_power(torn=True)
        assert disk.read("vote") == b"term 1"
        disk.rename("vote.tmp", "vote")
        await disk.fsync("vote")
        disk.lose_power(torn=True)
        assert disk.read("vote") == b"term 2"
        assert disk.list() == ["vote"]

    on_disk(use)


def test_renamed_but_never_synced_comes_back_empty_and_removed_but_never_committed_comes_back() -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        disk.append("old", b"old")
        await disk.fsync("old")
        disk.remove("old")
        disk.lose_power(torn=False)
        assert disk.read("old") == b"old"
        disk.remove("old")
        disk.write("tmp", b"content")
        disk.rename("tmp", "final")
        disk.append("other", b"x")
        await disk.fsync("other")
        disk.lose_power(torn=False)
        assert disk.list() == ["final", "other"]
        assert disk.read("final") == b""

    on_disk(use)


def test_a_torn_write_keeps_a_prefix_that_the_seed_draws() -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> int:
        disk.append("log", b"durable ")
        await disk.fsync("log")
        for _ in range(10):
            disk.append("log", b"0123456789")
        await cluster.power_fail("b1", torn=True)
        left = disk.read("log")
        assert (b"durable " + b"0123456789" * 10).startswith(left) and len(left) >= 8
        return len(left) - 8

    kept = [on_disk(use, seed) for seed in range(30)]
    assert len(set(kept)) > 15
    assert any(k % 10 for k in kept)
    assert kept == [on_disk(use, seed) for seed in range(30)]


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "write", "truncate", "rename", "remove", "fsync", "power"]),
        st.integers(0, 2),
        st.integers(0, 6),
    ),
    max_size=30,
)


class ModelDisk:
    """The same disk without cleverness: every fsync copies."""

    def __init__(self) -> None:
        self.cache: dict[str, list[Any]] = {}
        self.names: dict[str, list[Any]] = {}

    def apply(self, step: Step) -> None:
        kind, which, size = step
        name, other = f"f{which}", f"f{(which + size) % 3}"
        if kind == "power":
            self.cache = dict(self.names)
            for file in self.cache.values():
                file[0] = file[1]
        elif kind in ("append", "write"):
            file = self.cache.setdefault(name, [b"", b""])
            file[0] = (file[0] if kind == "append" else b"") + _bytes(size)
        elif name in self.cache:
            file = self.cache[name]
            if kind == "truncate":
                file[0] = file[0][:size].ljust(size, b"\0")
            elif kind == "rename":
                self.cache[other] = self.cache.pop(name)
            elif kind == "remove":
                del self.cache[name]
            else:
                file[1] = file[0]
                self.names = dict(self.cache)


def _bytes(size: int) -> bytes:
    return bytes(range(65, 65 + size))


async def _apply(disk: SimDisk, step: Step) -> None:
    kind, which, size = step
    name, other = f"f{which}", f"f{(which + size) % 3}"
    if kind == "power":
        disk.lose_power(torn=False)
    elif kind == "append":
        disk.append(name, _bytes(size))
    elif kind == "write":
        disk.write(name, _bytes(size))
    elif disk.exists(name):
        if kind == "truncate":
            disk.truncate(name, size)
        elif kind == "rename":
            disk.rename(name, other)
        elif kind == "remove":
            disk.remove(name)
        else:
            await disk.fsync(name)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_the_disk_is_the_plain_one(steps: list[Step]) -> None:
    async def use(disk: SimDisk, cluster: SimCluster) -> None:
        model = ModelDisk()
        for step in [*steps, ("power", 0, 0)]:
            model.apply(step)
            await _apply(disk, step)
            assert {n: disk.read(n) for n in disk.list()} == {n: f[0] for n, f in model.cache.items()}
            disk.capacity = sum(disk.size(n) for n in disk.list()) + 6

    on_disk(use)
