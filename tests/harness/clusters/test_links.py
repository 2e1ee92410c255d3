"""Links of real processes: what a cut, slow or lossy link does to a connection through its proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from harness.clusters.client_tasks import ClientLoop, TaskHost
from harness.clusters.links import Links
from harness.clusters.links.link import reset
from harness.clusters.local.ports import HeldPorts
from harness.node import Address

NOTHING_S = 0.15


class World:
    """`b` echoes lines; `a` reaches it over a proxy."""

    def __init__(self, links: Links, server: asyncio.Server) -> None:
        self.links = links
        self.server = server
        host, port = server.sockets[0].getsockname()[:2]
        self.address = Address(host, port)
        self.heard: list[bytes] = []

    async def dial(self, source: str = "a") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*await self.links.open(source, "b", self.address))


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    links = Links()
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = World(links, server)
    made.heard = heard
    try:
        yield made
    finally:
        links.close()
        server.close()


def in_a_world(story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with world() as made, asyncio.timeout(10):
            await story(made)

    asyncio.run(run())


async def silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(NOTHING_S):
            await reader.readline()
    except TimeoutError:
        return True
    return False


def test_a_sound_link_carries_both_ways_and_ends_with_its_ends() -> None:
    async def story(world: World) -> None:
        reader, writer = await world.dial()
        writer.write(b"one\n" + b"x" * 50_000 + b"\n")
        assert await reader.readline() == b"one\n"
        assert len(await reader.readuntil(b"x\n")) == 50_001
        writer.write_eof()
        assert await reader.read() == b""

    in_a_world(story)


@pytest.mark.parametrize("how", ["drop", "hold"])
def test_a_cut_link_is_silent_until_it_is_healed(how: str) -> None:
    async def story(world: World) -> None:
        reader, writer = await world.dial()
        writer.write(b"before\n")
        assert await reader.readline() == b"before\n"
        assert world.links.cut("a", "b", how) == 1  # type: ignore[arg-type]
        writer.write(b"during\n")
        assert await silent(reader)
        assert world.heard == [b"before\n"]
        world.links.heal("a", "b")
        assert await reader.readline() == b"during\n"

    in_a_world(story)


def test_one_direction_at_a_time() -> None:
    async def story(world: World) -> None:
        reader, writer = await world.dial()
        writer.write(b"before\n")
        await reader.readline()
        world.links.cut("b", "a", "drop")
        writer.write(b"during\n")
        assert await silent(reader)
        assert world.heard == [b"before\n", b"during\n"]

    in_a_world(story)


@pytest.mark.parametrize(("how", "arrives"), [("drop", False), ("hold", True)])
def test_what_a_connection_had_sent_that_was_reset(how: str, arrives: bool) -> None:
    async def story(world: World) -> None:
        reader, writer = await world.dial()
        writer.write(b"before\n")
        await reader.readline()
        world.links.cut("a", "b", how)  # type: ignore[arg-type]
        writer.write(b"late\n")
        await asyncio.sleep(0.05)
        reset(cast(asyncio.Transport, writer.transport))
        await asyncio.sleep(0.05)
        world.links.heal("a", "b")
        await asyncio.sleep(0.1)
        assert (b"late\n" in world.heard) is arrives

    in_a_world(story)


def test_a_rejecting_link_resets_what_is_open_and_what_is_new() -> None:
    async def story(world: World) -> None:
        reader, writer = await world.dial()
        writer.write(b"before\n")
        await reader.readline()
        world.links.cut("a", "b", "reject")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await (await world.dial())[0].readexactly(1)

    in_a_world(story)


def test_a_connection_dialled_over_a_cut_link_stands_after_the_heal() -> None:
    async def story(world: World) -> None:
        world.links.cut("a", "b", "drop")
        reader, writer = await world.dial()
        writer.write(b"late\n")
        assert await silent(reader)
        world.links.heal("a", "b")
        assert await reader.readline() == b"late\n"

    in_a_world(story)


def test_other_links_are_not_touched() -> None:
    async def story(world: World) -> None:
        world.links.cut("a", "b", "drop")
        reader, writer = await world.dial("c")
        writer.write(b"mine\n")
        assert await reader.readline() == b"mine\n"

    in_a_world(story)


def test_latency_and_bandwidth_take_their_time_and_keep_the_order() -> None:
    async def story(world: World) -> None:
        reader, writer = await world.dial()
        world.links.degrade("a", "b", latency_ms=60, jitter_ms=40)
        began = time.monotonic()
        for number in range(10):
            writer.write(b"%d\n" % number)
            await asyncio.sleep(0.003)
        assert [await reader.readline() for _ in range(10)] == [b"%d\n" % n for n in range(10)]
        assert time.monotonic() - began >= 0.06
        world.links.degrade("a", "b", bandwidth_kbps=800)
        began = time.monotonic()
        writer.write(b"x" * 20_000 + b"\n")
        await reader.readuntil(b"\n")
        assert time.monotonic() - began >= 0.15

    in_a_world(story)


def test_nobody_listens() -> None:
    async def story(world: World) -> None:
        world.server.close()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await (await world.dial())[0].readexactly(1)

    in_a_world(story)


def test_one_place_for_many_links() -> None:
    async def story(world: World) -> None:
        sources = iter(["a", "c"])
        shared = await world.links.open_shared("b", world.address, lambda near, far: next(sources))
        world.links.cut("a", "b", "drop")
        first, first_writer = await asyncio.open_connection(*shared)
        first_writer.write(b"of a\n")
        assert await silent(first)
        second, second_writer = await asyncio.open_connection(*shared)
        second_writer.write(b"of c\n")
        assert await second.readline() == b"of c\n"

    in_a_world(story)


def test_a_client_host_dials_its_own_link() -> None:
    loop = ClientLoop()

    async def story() -> None:
        async with world() as made:

            async def route(client: str, address: Address) -> Address:
                return await made.links.open(client, "b", address)

            loop.route = route
            made.links.cut("client-0", "b", "drop")

            async def ask() -> bool:
                reader, writer = await asyncio.open_connection(*made.address)
                writer.write(b"ask\n")
                return await silent(reader)

            assert await TaskHost("client-0").spawn(ask())
            assert not await TaskHost("client-1").spawn(ask())

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(story())


def test_ports_are_held_against_another_run() -> None:
    one, other = HeldPorts(), HeldPorts()
    try:
        assert not set(one.take(200)) & set(other.take(200))
    finally:
        one.close()
        other.close()
