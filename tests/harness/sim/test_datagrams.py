"""Datagrams: addressed, lost, doubled, reordered; cut links, full buffers, dead and paused receivers."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest

from harness.clusters.sim import SimCluster
from harness.node import NodeEnvironment
from tests.harness.sim.toy import run


class Ears(asyncio.DatagramProtocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.sources: list[Any] = []
        self.errors: list[Exception] = []
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append(data)
        self.sources.append(addr)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def echo(env: NodeEnvironment) -> None:
    """Reports every datagram, and answers it."""

    class Answering(Ears):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            env.emit("heard", data=data.decode())
            self.transport.sendto(data, addr)  # type: ignore[attr-defined]

    await asyncio.get_running_loop().create_datagram_endpoint(Answering, local_addr=("0.0.0.0", 9000))
    await asyncio.Event().wait()


def heard(cluster: SimCluster, node: str = "b1") -> list[str]:
    return [e.fields["data"] for e in cluster.events if e.kind == "heard" and e.node == node]


async def endpoint(remote: tuple[str, int] | None = None) -> tuple[Any, Ears]:
    return await asyncio.get_running_loop().create_datagram_endpoint(Ears, remote_addr=remote)


def talk(
    work: Callable[[SimCluster, Any, Ears], Any], *, remote: tuple[str, int] | None = None, seed: int = 0
) -> Any:
    """`work` on host `p0` with an endpoint of its own."""

    async def scenario(cluster: SimCluster) -> Any:
        await cluster.start()
        await asyncio.sleep(0.1)

        async def at_client() -> Any:
            transport, ears = await endpoint(remote)
            return await work(cluster, transport, ears)

        return await cluster.client_host("p0").spawn(at_client())

    return run(scenario, echo, nodes=2, seed=seed)


def test_a_datagram_arrives_and_is_answered() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> None:
        transport.sendto(b"hello", ("b1", 9000))
        await asyncio.sleep(0.1)
        assert heard(cluster) == ["hello"]
        assert ears.heard == [b"hello"]
        assert ears.sources == [(cluster._host("b1").address, 9000)]
        transport.close()
        await asyncio.sleep(0)
        assert ears.lost

    talk(work)


def test_datagrams_overtake_each_other() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> list[str]:
        for number in range(50):
            transport.sendto(str(number).encode(), ("b1", 9000))
        await asyncio.sleep(0.1)
        return heard(cluster)

    order = talk(work)
    assert sorted(order, key=int) == [str(n) for n in range(50)]
    assert order != sorted(order, key=int)


@pytest.mark.parametrize(
    ("poor", "expected"),
    [
        ({"datagram_loss": 0.3}, range(600, 800)),
        ({"loss": 0.3}, range(600, 800)),
        ({"loss": 0.3, "datagram_loss": 0.5}, range(280, 420)),
        ({"duplicate": 0.5}, range(1_400, 1_600)),
        ({"reorder": 0.5}, range(1_000, 1_001)),
    ],
)
def test_a_poor_link(poor: dict[str, float], expected: range) -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> int:
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0, **poor)
        for number in range(1_000):
            transport.sendto(str(number).encode(), ("b1", 9000))
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.2)
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0)
        return len(heard(cluster))

    assert talk(work) in expected


def test_a_late_datagram_is_overtaken_by_later_ones() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> list[int]:
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0, reorder=0.2)
        for number in range(100):
            transport.sendto(str(number).encode(), ("b1", 9000))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        return [int(d) for d in heard(cluster)]

    order = talk(work)
    assert order != sorted(order)
    assert sorted(order) == list(range(100))


@pytest.mark.parametrize(("how", "after"), [("drop", []), ("reject", []), ("hold", ["x"])])
def test_a_cut_link(how: Any, after: list[str]) -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> None:
        await cluster.cut("p0", "b1", how=how)
        transport.sendto(b"x")
        await asyncio.sleep(1)
        assert heard(cluster) == []
        assert [type(e) for e in ears.errors] == ([ConnectionRefusedError] if how == "reject" else [])
        await cluster.heal("p0", "b1")
        await asyncio.sleep(1)
        assert heard(cluster) == after
        transport.sendto(b"y")
        await asyncio.sleep(1)
        assert heard(cluster) == [*after, "y"]

    talk(work, remote=("b1", 9000))


def test_a_cut_of_one_direction_stops_the_answers_only() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> None:
        await cluster.cut("b1", "p0", how="drop")
        transport.sendto(b"x", ("b1", 9000))
        await asyncio.sleep(1)
        assert heard(cluster) == ["x"]
        assert ears.heard == []

    talk(work)


def test_where_nobody_listens_a_connected_socket_is_told_and_another_is_not() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> list[Exception]:
        transport.sendto(b"x", ("b1", 9999))
        await asyncio.sleep(1)
        return ears.errors

    assert [type(e) for e in talk(work, remote=("b1", 9999))] == [ConnectionRefusedError]
    assert talk(work) == []


def test_a_dead_node_hears_nothing_and_a_restarted_one_does() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> None:
        await cluster.kill("b1")
        transport.sendto(b"x", ("b1", 9000))
        await asyncio.sleep(1)
        await cluster.restart("b1")
        await asyncio.sleep(0.1)
        transport.sendto(b"y", ("b1", 9000))
        await asyncio.sleep(1)
        assert heard(cluster) == ["y"]

    talk(work)


def test_a_paused_node_hears_what_its_buffer_could_keep() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> int:
        await cluster.pause("b1")
        for _ in range(100):
            transport.sendto(b"x" * 4_000, ("b1", 9000))
        await asyncio.sleep(1)
        assert heard(cluster) == []
        await cluster.resume("b1")
        await asyncio.sleep(1)
        return len(heard(cluster))

    assert talk(work) == 212_992 // 4_000


def test_what_is_no_datagram_is_refused() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> None:
        transport.sendto(bytes(70_000), ("b1", 9000))
        await asyncio.sleep(0)
        assert [e.errno for e in ears.errors] == [errno.EMSGSIZE]  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="needs an address"):
            transport.sendto(b"x")
        with pytest.raises(OSError, match="no host here"):
            transport.sendto(b"x", ("nowhere", 1))
        loop = asyncio.get_running_loop()
        port = transport.get_extra_info("sockname")[1]
        with pytest.raises(OSError, match="already in use"):
            await loop.create_datagram_endpoint(Ears, local_addr=("p0", port))
        with pytest.raises(OSError, match="Cannot assign"):
            await loop.create_datagram_endpoint(Ears, local_addr=("b1", 7))

    talk(work)


def test_a_connected_socket_hears_its_peer_only() -> None:
    async def work(cluster: SimCluster, transport: Any, ears: Ears) -> None:
        stranger, _ = await endpoint()
        stranger.sendto(b"stranger", ("p0", transport.get_extra_info("sockname")[1]))
        transport.sendto(b"x")
        await asyncio.sleep(1)
        assert ears.heard == [b"x"]
        with pytest.raises(ValueError, match="Invalid address"):
            transport.sendto(b"x", ("b2", 9000))

    talk(work, remote=("b1", 9000))


def test_two_runs_are_the_same_run() -> None:
    def digest(seed: int) -> str:
        async def work(cluster: SimCluster, transport: Any, ears: Ears) -> str:
            await cluster.degrade(
                "p0", "b1", latency_ms=0, jitter_ms=0, datagram_loss=0.2, duplicate=0.2, reorder=0.2
            )
            for _ in range(100):
                transport.sendto(b"x", ("b1", 9000))
            await asyncio.sleep(1)
            return cluster.trace_digest()

        told: str = talk(work, seed=seed)
        return told

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)
