"""Frames between nodes, over real loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from harness.node import Address
from systems.rpc import PREAMBLE, Codec, Link, ServerConnection


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    number: int


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    number: int


CODEC = Codec(Ask, Answer)


async def listening(handler: Callable[[Any], Any]) -> tuple[asyncio.Server, Address]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ServerConnection(CODEC, handler), "127.0.0.1", 0)
    return server, Address("127.0.0.1", server.sockets[0].getsockname()[1])


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(limited())


def test_responses_find_their_requests_in_any_order() -> None:
    async def late(message: Ask) -> Answer:
        await asyncio.sleep(0.001 * (50 - message.number))
        return Answer(message.number)

    async def scenario() -> None:
        server, address = await listening(lambda m: late(m) if m.number % 2 else Answer(m.number))
        link = Link(address, CODEC)
        answers = await asyncio.gather(*(link.call(Ask(i), timeout_ms=5000) for i in range(50)))
        assert [a.number for a in answers] == list(range(50))
        link.close()
        server.close()

    run(scenario)


def test_a_call_that_times_out_takes_its_connection_down_and_the_next_dials_again() -> None:
    async def never(message: Ask) -> Answer:
        await asyncio.sleep(60)
        return Answer(0)

    async def scenario() -> None:
        server, address = await listening(lambda m: never(m) if m.number == 13 else Answer(m.number))
        link = Link(address, CODEC)
        together = await asyncio.gather(
            link.call(Ask(13), timeout_ms=50), link.call(Ask(13), timeout_ms=5000), return_exceptions=True
        )
        assert [type(e) for e in together] == [TimeoutError, ConnectionResetError]
        assert await link.call(Ask(1), timeout_ms=1000) == Answer(1)
        link.close()
        server.close()

    run(scenario)


def test_nobody_listens_and_then_somebody_does() -> None:
    async def scenario() -> None:
        server, address = await listening(lambda m: Answer(m.number))
        server.close()
        await server.wait_closed()
        link = Link(address, CODEC)
        with pytest.raises(OSError, match=r"refused|failed"):
            await link.call(Ask(1), timeout_ms=1000)
        loop = asyncio.get_running_loop()
        again = await loop.create_server(
            lambda: ServerConnection(CODEC, lambda m: Answer(m.number)), address.host, address.port
        )
        assert await link.call(Ask(2), timeout_ms=1000) == Answer(2)
        link.close()
        again.close()

    run(scenario)


def test_one_way_messages_arrive_without_an_answer() -> None:
    async def scenario() -> None:
        got: list[int] = []
        server, address = await listening(lambda m: got.append(m.number))
        link = Link(address, CODEC)
        link.send(Ask(0))  # nobody is connected yet: dropped, but dialled
        await asyncio.sleep(0.1)
        link.send(Ask(1))
        link.send(Ask(2))
        await asyncio.sleep(0.1)
        assert got == [1, 2]
        link.close()
        server.close()

    run(scenario)


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", PREAMBLE + b"\xff" * 9, PREAMBLE + b"\0\0\0\x06\1\0\0\0\1\xc1"],
)
def test_what_is_no_frame_ends_the_connection(garbage: bytes) -> None:
    async def scenario() -> None:
        server, address = await listening(lambda m: Answer(m.number))
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(garbage)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        writer.close()
        link = Link(address, CODEC)
        assert await link.call(Ask(3), timeout_ms=1000) == Answer(3)
        link.close()
        server.close()

    run(scenario)


def test_frames_may_arrive_byte_by_byte() -> None:
    async def scenario() -> None:
        server, address = await listening(lambda m: Answer(m.number))
        reader, writer = await asyncio.open_connection(address.host, address.port)
        body = CODEC.encode(Ask(7))
        stream = PREAMBLE + (len(body) + 5).to_bytes(4, "big") + b"\1\0\0\0\x09" + body
        for i in range(len(stream)):
            writer.write(stream[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0)
        header = await reader.readexactly(9)
        assert header[4:] == b"\2\0\0\0\x09"
        answer = await reader.readexactly(int.from_bytes(header[:4], "big") - 5)
        assert CODEC.decode(answer) == Answer(7)
        writer.close()
        server.close()

    run(scenario)
