"""Disks that are full, slow or gone; machines that come and go."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.clusters.sim import SimBackend, SimCluster
from harness.node import NodeEnvironment
from harness.topology import NodeInfo, Topology
from tests.harness.sim.toy import Toy, run, started


def on_disk(
    program: Callable[[NodeEnvironment], Awaitable[None]], scenario: Callable[[SimCluster], Awaitable[Any]]
) -> Any:
    async def node(env: NodeEnvironment) -> None:
        await program(env)
        await asyncio.Event().wait()

    return run(scenario, node, nodes=1)


def test_a_full_disk_refuses_what_is_new_and_gives_what_is_old() -> None:
    async def program(env: NodeEnvironment) -> None:
        env.disk.append("log", b"old")
        await env.disk.fsync("log")
        env.disk.append("log", b"unsynced")
        await asyncio.sleep(1)
        for attempt in (lambda: env.disk.append("log", b"x"), lambda: env.disk.write("new", b"x")):
            with pytest.raises(OSError, match="No space") as refused:
                attempt()
            assert refused.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="No space"):
            await env.disk.fsync("log")
        assert env.disk.read("log") == b"oldunsynced"
        env.disk.truncate("log", 3)
        env.disk.rename("log", "moved")
        await asyncio.sleep(1)
        env.disk.append("moved", b"er")
        await env.disk.fsync("moved")
        env.emit("done", content=env.disk.read("moved").decode())

    async def scenario(cluster: SimCluster) -> Any:
        await cluster.start()
        await asyncio.sleep(0.5)
        await cluster.fill_disk("b1", full=True)
        await asyncio.sleep(1)
        await cluster.fill_disk("b1", full=False)
        await asyncio.sleep(1)
        assert not [e for e in cluster.events if e.kind == "exited"]
        return [e.fields["content"] for e in cluster.events if e.kind == "done"]

    assert on_disk(program, scenario) == ["older"]


def test_what_is_durable_already_can_be_synced_on_a_full_disk() -> None:
    async def program(env: NodeEnvironment) -> None:
        env.disk.append("log", b"x")
        await env.disk.fsync("log")
        await asyncio.sleep(1)
        await env.disk.fsync("log")
        env.emit("done")

    async def scenario(cluster: SimCluster) -> list[str]:
        await started(cluster)
        await cluster.fill_disk("b1", full=True)
        await asyncio.sleep(2)
        return [e.kind for e in cluster.events]

    assert on_disk(program, scenario) == ["done"]


def test_a_slow_disk_takes_longer_for_each_fsync() -> None:
    async def program(env: NodeEnvironment) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            env.disk.append("log", b"x")
            began = loop.time()
            await env.disk.fsync("log")
            env.emit("synced", ms=(loop.time() - began) * 1000)
            await asyncio.sleep(0.1)

    async def scenario(cluster: SimCluster) -> list[float]:
        await started(cluster)
        await cluster.slow_disk("b1", latency_ms=200, jitter_ms=100)
        await asyncio.sleep(10)
        return [e.fields["ms"] for e in cluster.events]

    first, *rest = on_disk(program, scenario)
    assert first < 30
    assert len(rest) == 19
    assert all(200 < ms < 330 for ms in rest[2:])
    assert max(rest) - min(rest[2:]) > 30


def test_a_wiped_node_starts_with_nothing() -> None:
    async def program(env: NodeEnvironment) -> None:
        env.emit("found", names=env.disk.list(), founder=env.founder)
        env.disk.append("log", b"x")
        await env.disk.fsync("log")

    async def scenario(cluster: SimCluster) -> list[Any]:
        await started(cluster)
        assert (await cluster.wipe("b1")).verified is False, "it is running"
        await cluster.kill("b1")
        await cluster.restart("b1")
        await asyncio.sleep(1)
        await cluster.kill("b1")
        assert (await cluster.wipe("b1")).verified
        await cluster.restart("b1")
        await asyncio.sleep(1)
        return [e.fields["names"] for e in cluster.events if e.kind == "found"]

    assert on_disk(program, scenario) == [[], ["log"], []]


def test_a_wipe_loses_what_was_being_synced() -> None:
    async def program(env: NodeEnvironment) -> None:
        env.emit("found", names=env.disk.list())
        env.disk.append("log", b"x")
        await env.disk.fsync("log")

    async def scenario(cluster: SimCluster) -> list[Any]:
        await cluster.slow_disk("b1", latency_ms=1_000, jitter_ms=0)
        await started(cluster)
        await cluster.kill("b1")
        await cluster.wipe("b1")
        await asyncio.sleep(2)
        await cluster.power_fail("b1")
        await cluster.restart("b1")
        await asyncio.sleep(0.1)
        return [e.fields["names"] for e in cluster.events]

    assert on_disk(program, scenario) == [[], []]


def test_spares_are_launched_and_retired() -> None:
    async def node(env: NodeEnvironment) -> None:
        env.emit("begun", founder=env.founder, names=env.disk.list())
        env.disk.append("log", b"x")
        await asyncio.Event().wait()

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        assert cluster.members == ("b1", "b2")
        assert not cluster.running("b3")
        assert (await cluster.launch("b1")).verified is False
        assert (await cluster.launch("b3")).verified
        await asyncio.sleep(0.1)
        assert cluster.members == ("b1", "b2", "b3")
        assert (await cluster.retire("b1")).verified
        assert (await cluster.retire("b1")).verified is False
        assert not cluster.running("b1")
        assert cluster.members == ("b2", "b3")
        await cluster.kill("b3")
        await cluster.restart("b3")
        await asyncio.sleep(0.1)
        await cluster.launch("b1")
        await asyncio.sleep(0.1)
        begun = [(e.node, e.fields["founder"], e.fields["names"]) for e in cluster.events]
        assert sorted(begun[:2]) == [("b1", True, []), ("b2", True, [])]
        assert begun[2:] == [("b3", False, []), ("b3", False, ["log"]), ("b1", False, [])]

    SimBackend().run(
        scenario,  # type: ignore[arg-type]
        system=Toy(node),
        topology=Topology(tuple(NodeInfo(f"b{i}", "broker", i, 9000, spare=i == 3) for i in (1, 2, 3))),
        config={},
        bugs=frozenset(),
        seed=0,
        folder=None,
    )
