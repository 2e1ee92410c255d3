"""Streams over links that lose packets or carry little: nothing is lost but time."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.clusters.sim import SimCluster
from tests.harness.sim.toy import connect, run, started


def took_s(poor: dict[str, float], *, requests: int = 50, size: int = 10, seed: int = 0) -> float:
    """How long so many requests and answers of the echo program take, one after the other."""

    async def scenario(cluster: SimCluster) -> float:
        await started(cluster)
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0, **poor)

        async def asking() -> float:
            reader, writer = await connect()
            began = asyncio.get_running_loop().time()
            for number in range(requests):
                line = str(number).encode().ljust(size, b".") + b"\n"
                writer.write(line)
                assert await reader.readline() == line
            return asyncio.get_running_loop().time() - began

        return await cluster.client_host("p0").spawn(asking())

    return run(scenario, nodes=1, seed=seed)


def test_a_lost_packet_is_sent_again() -> None:
    sound, lossy = took_s({}), took_s({"loss": 0.2})
    assert sound < 0.2
    # A packet in five is lost at first: 0.2 s each, and 0.4 s more for those that are lost again.
    assert 50 * 0.2 * 0.2 * 0.5 < lossy < 50 * 0.2 * 0.2 * 4


def test_what_is_lost_holds_up_what_was_sent_after_it() -> None:
    async def scenario(cluster: SimCluster) -> list[str]:
        await started(cluster)
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0, loss=0.3)

        async def sending() -> list[str]:
            reader, writer = await connect()
            for number in range(100):
                writer.write(f"{number}\n".encode())
                await asyncio.sleep(0.001)
            return [(await reader.readline()).decode().strip() for _ in range(100)]

        return await cluster.client_host("p0").spawn(sending())

    assert run(scenario, nodes=1) == [str(n) for n in range(100)]


def test_a_narrow_link_takes_as_long_as_it_has_bits() -> None:
    # 100 lines of 1,000 bytes and 40 of headers at 800 kbit/s: 10.4 ms each.
    narrow = took_s({"bandwidth_kbps": 800}, requests=100, size=999)
    assert 1.0 < narrow - took_s({}, requests=100, size=999) < 1.1


def test_connections_share_the_line() -> None:
    async def scenario(cluster: SimCluster) -> float:
        await started(cluster)
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0, bandwidth_kbps=800)

        async def one() -> Any:
            reader, writer = await connect()
            writer.write(b"x" * 9_999 + b"\n")
            return await reader.readline()

        began = asyncio.get_running_loop().time()
        host = cluster.client_host("p0")
        await asyncio.gather(*(host.spawn(one()) for _ in range(10)))
        return asyncio.get_running_loop().time() - began

    assert 1.0 < run(scenario, nodes=1) < 1.2


def test_a_healed_link_is_sound() -> None:
    async def scenario(cluster: SimCluster) -> float:
        await started(cluster)
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0, loss=0.9, bandwidth_kbps=1)
        await cluster.degrade("p0", "b1", latency_ms=0, jitter_ms=0)

        async def asking() -> float:
            reader, writer = await connect()
            began = asyncio.get_running_loop().time()
            writer.write(b"x\n")
            await reader.readline()
            return asyncio.get_running_loop().time() - began

        return await cluster.client_host("p0").spawn(asking())

    assert run(scenario, nodes=1) < 0.02
