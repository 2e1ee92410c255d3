"""Every fault that backend `local` can do bites and is undone, on nodes that are processes of this machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import Evidence
from harness.clusters.local import LocalBackend, LocalCluster
from harness.node import Address
from harness.plan import resolve
from harness.spec import Spec

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("toy")]

SOON_S = 0.3
"""Who has not answered by then does not answer."""


class Bags:
    """A cluster of the test system, and what its nodes answer to a client host."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster

    async def ask(self, node: str, request: str, *, client: str = "client-0", within_s: float = 5.0) -> str:
        return await _ask(self.cluster, self.cluster.address(node, client=client), request, client, within_s)

    async def over(self, source: str, target: str, request: str = "all", within_s: float = 5.0) -> str:
        """Over the link of one node to another."""
        return await _asked(self.cluster._proxies[source, target, ""], request, within_s)


async def _ask(cluster: LocalCluster, address: Address, request: str, client: str, within_s: float) -> str:
    return await cluster.client_host(client).spawn(_asked(address, request, within_s))


async def _asked(address: Address, request: str, within_s: float) -> str:
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(f"{request}\n".encode())
            line = await reader.readline()
        finally:
            writer.close()
    if not line:
        raise ConnectionResetError("hung up")
    return line.decode().strip()


def with_bags(folder: Path, story: Callable[[Bags], Awaitable[None]], **asked: Any) -> None:
    plan = resolve(Spec(system="toy-bag", workload="bag", backend="local", **asked))

    async def live(cluster: Any) -> None:
        await cluster.start()
        await story(Bags(cluster))
        await cluster.stop()

    LocalBackend().run(
        live,
        system=plan.system,
        topology=plan.topology,
        config=plan.spec.config,
        bugs=frozenset(),
        seed=0,
        folder=folder,
    )


def _environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def sure(evidence: Evidence) -> None:
    assert evidence.verified is True, evidence.detail


def test_links_between_nodes_are_cut_one_by_one(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        for how in ("drop", "hold"):
            sure(await bags.cluster.cut("n1", "n2", how=how))
            with pytest.raises(TimeoutError):
                await bags.over("n1", "n2", within_s=SOON_S)
            assert await bags.over("n1", "n3") == ""
            sure(await bags.cluster.heal("n1", "n2"))
            assert await bags.over("n1", "n2") == ""
        sure(await bags.cluster.cut("n1", "n2", how="reject"))
        with pytest.raises(ConnectionError):
            await bags.over("n1", "n2")
        sure(await bags.cluster.kill("n2"))
        sure(await bags.cluster.restart("n2"))
        with pytest.raises(ConnectionError):
            await bags.over("n1", "n2")
        sure(await bags.cluster.heal("n1", "n2"))
        assert await bags.over("n1", "n2") == ""

    with_bags(tmp_path, story)


def test_each_client_has_links_of_its_own(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        sure(await bags.cluster.cut("client-0", "n1", how="drop"))
        with pytest.raises(TimeoutError):
            await bags.ask("n1", "all", within_s=SOON_S)
        assert await bags.ask("n2", "all") == ""
        assert await bags.ask("n1", "all", client="client-1") == ""
        sure(await bags.cluster.heal("client-0", "n1"))
        sure(await bags.cluster.degrade("n1", "client-0", latency_ms=200, jitter_ms=0))
        began = time.monotonic()
        assert await bags.ask("n1", "all") == ""
        assert time.monotonic() - began >= 0.2
        sure(await bags.cluster.degrade("n1", "client-0", latency_ms=0, jitter_ms=0))

    with_bags(tmp_path, story)


def test_power_takes_what_was_not_durable_and_a_kill_does_not(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        await bags.ask("n1", "add 1")
        await bags.ask("n1", "note 22")
        sure(await bags.cluster.kill("n1"))
        sure(await bags.cluster.restart("n1"))
        assert await bags.ask("n1", "all") == "1 22"
        lost = await bags.cluster.power_fail("n1")
        sure(lost)
        assert "lost 3 bytes" in lost.detail
        sure(await bags.cluster.restart("n1"))
        assert await bags.ask("n1", "all") == "1"
        sure(await bags.cluster.kill("n1"))
        sure(await bags.cluster.wipe("n1"))
        sure(await bags.cluster.restart("n1"))
        assert await bags.ask("n1", "all") == ""

    with_bags(tmp_path, story)


def test_a_full_disk_outlives_the_process_until_there_is_room(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        sure(await bags.cluster.fill_disk("n1", full=True))
        for _ in range(2):
            with pytest.raises((ConnectionError, TimeoutError)):
                await bags.ask("n1", "add 1", within_s=SOON_S)
            sure(await bags.cluster.kill("n1"))
            sure(await bags.cluster.restart("n1"))
        sure(await bags.cluster.fill_disk("n1", full=False))
        assert await bags.ask("n1", "add 2") == "ok"

    with_bags(tmp_path, story)


def test_a_slow_disk_is_slow_only_where_it_has_to_be_durable(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        sure(await bags.cluster.slow_disk("n1", latency_ms=300, jitter_ms=0))
        began = time.monotonic()
        await bags.ask("n1", "note 1")
        noted = time.monotonic()
        await bags.ask("n1", "add 2")
        assert noted - began < 0.3 <= time.monotonic() - noted
        sure(await bags.cluster.slow_disk("n1", latency_ms=0, jitter_ms=0))
        began = time.monotonic()
        await bags.ask("n1", "add 3")
        assert time.monotonic() - began < 0.3

    with_bags(tmp_path, story)


def test_a_clock_is_off_and_drifts_over_a_restart_and_comes_back(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        async def off_by_s(node: str) -> float:
            return (int(await bags.ask(node, "time")) - time.time_ns()) / 1e9

        told = await bags.cluster.skew("n1", offset_ms=-60_000)
        sure(told)
        assert told.detail.endswith("it reports -60000.0")
        assert await off_by_s("n1") == pytest.approx(-60, abs=2)
        assert await off_by_s("n2") == pytest.approx(0, abs=2)
        sure(await bags.cluster.skew("n1", offset_ms=60_000, rate=21.0))
        sure(await bags.cluster.kill("n1"))
        sure(await bags.cluster.restart("n1"))
        first = await off_by_s("n1")
        await asyncio.sleep(0.5)
        assert first > 60
        assert await off_by_s("n1") - first >= 9
        sure(await bags.cluster.skew("n1", offset_ms=0))
        assert await off_by_s("n1") == pytest.approx(0, abs=2)

    with_bags(tmp_path, story)


def test_a_node_stands_still_at_a_step_until_whoever_waits_has_acted(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        reached: list[str] = []
        disarm = bags.cluster.arm("n1", "bag.add", reached.append)
        assert await bags.ask("n1", "add 1") == "ok"
        assert reached == ["n1"]
        disarm()
        assert await bags.ask("n1", "add 2") == "ok"
        assert reached == ["n1"]

        killing: list[asyncio.Task[Evidence]] = []

        def kill(node: str) -> None:
            killing.append(asyncio.ensure_future(bags.cluster.kill(node)))

        disarm = bags.cluster.arm("n1", "bag.add", kill)
        with pytest.raises(ConnectionError):
            await bags.ask("n1", "add 3")
        sure(await killing[0])
        disarm()
        sure(await bags.cluster.restart("n1"))
        assert await bags.ask("n1", "all") == "1 2"

    with_bags(tmp_path, story)


def test_a_spare_joins_on_an_empty_disk_and_leaves_for_good(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        cluster = bags.cluster
        await bags.ask("n2", "add 1")
        sure(await cluster.retire("n2"))
        assert "n2" not in cluster.members
        assert not cluster.running("n2")
        assert not cluster._nodes["n2"].data.exists()
        sure(await cluster.launch("n2"))
        assert "n2" in cluster.members
        assert await bags.ask("n2", "all") == ""
        assert (await cluster.launch("n2")).verified is False

    with_bags(tmp_path, story)


def test_two_clusters_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        def other() -> None:
            async def inner(more: Bags) -> None:
                ports = [{b.cluster.address(n, client="") for n in b.cluster.members} for b in (bags, more)]
                assert not ports[0] & ports[1]
                assert await more.ask("n1", "add 1") == "ok"

            with_bags(tmp_path / "other", inner)

        (tmp_path / "other").mkdir()
        await asyncio.to_thread(other)
        assert await bags.ask("n1", "all") == ""

    with_bags(tmp_path, story)


def test_every_process_of_a_run_carries_its_name(tmp_path: Path) -> None:
    async def story(bags: Bags) -> None:
        cluster = bags.cluster
        for node in cluster.members:
            environment = _environment(cluster.pid(node))
            assert f"CHAOS_RUN={cluster.run_id}".encode() in environment
        assert cluster.run_id.split(".")[1] == str(os.getpid())

    with_bags(tmp_path, story)
