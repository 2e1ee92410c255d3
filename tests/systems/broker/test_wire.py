from __future__ import annotations

import asyncio
import datetime
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from harness.node import Address
from systems.broker import messages
from systems.broker.channel import Channel
from systems.broker.context import RequestContext
from systems.broker.server import CloseConnection, Server, serve
from systems.broker.wire import Frames, WireError, decode_request, encode_request

HEARTBEAT = 12


def _heartbeat(member: str, version: int = 4) -> Any:
    return messages.request(
        HEARTBEAT, version, group_id="g", generation_id=1, member_id=member, group_instance_id=None
    )


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 9)))
def test_frames_survive_any_cut_of_the_stream(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(struct.pack(">i", len(body)) + body for body in bodies)
    frames, found = Frames(), []
    while stream:
        size = cuts.pop() if cuts else len(stream)
        found += frames.feed(stream[:size])
        stream = stream[size:]
    assert found == bodies


@pytest.mark.parametrize("length", [-1, 1 << 30])
def test_a_length_that_no_client_sends_is_refused(length: int) -> None:
    with pytest.raises(WireError):
        Frames().feed(struct.pack(">i", length))


@pytest.mark.parametrize("version", range(5))
def test_requests_round_trip(version: int) -> None:
    sent = _heartbeat("m", version)
    request = decode_request(encode_request(sent, 7, "me")[4:])
    assert (request.api_key, request.version, request.correlation_id) == (HEARTBEAT, version, 7)
    assert (request.client_id, request.payload) == ("me", sent)


@given(st.binary(max_size=60))
def test_garbage_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_request(struct.pack(">hh", HEARTBEAT, 4) + data[:6])


Body = Callable[[Server, Channel], Awaitable[None]]


def _served(handler: Callable[[RequestContext, Any], Awaitable[Any]], body: Body) -> None:
    async def main() -> None:
        server = await serve("b1", Address("127.0.0.1", 0), {HEARTBEAT: (range(5), handler)})
        assert server._listener is not None
        port = server._listener.sockets[0].getsockname()[1]
        channel = Channel(lambda: Address("127.0.0.1", port), client_id="test")
        try:
            async with asyncio.timeout(20):
                await body(server, channel)
        finally:
            channel.close()
            await server.close()

    asyncio.run(main())


def _ok(context: RequestContext) -> Any:
    return messages.response(context, error_code=ErrorCode.none)


def test_answers_come_in_order_although_the_first_is_slow() -> None:
    order: list[str] = []

    async def handler(context: RequestContext, request: Any) -> Any:
        await asyncio.sleep(0.05 if request.member_id == "slow" else 0)
        order.append(request.member_id)
        return _ok(context)

    async def body(server: Server, channel: Channel) -> None:
        calls = [channel.call(_heartbeat(m), timeout_ms=5000) for m in ("slow", "a", "b")]
        answers = await asyncio.gather(*calls)
        assert [a.error_code for a in answers] == [ErrorCode.none] * 3
        assert order == ["slow", "a", "b"]

    _served(handler, body)


def test_a_request_that_times_out_takes_the_connection_along_and_the_next_dials_again() -> None:
    async def handler(context: RequestContext, request: Any) -> Any:
        if request.member_id == "stuck":
            await asyncio.sleep(10)
        return _ok(context)

    async def body(server: Server, channel: Channel) -> None:
        stuck = asyncio.ensure_future(channel.call(_heartbeat("stuck"), timeout_ms=100))
        behind = asyncio.ensure_future(channel.call(_heartbeat("behind"), timeout_ms=5000))
        with pytest.raises(TimeoutError):
            await stuck
        with pytest.raises(ConnectionResetError):
            await behind
        assert (await channel.call(_heartbeat("m"), timeout_ms=5000)).error_code is ErrorCode.none

    _served(handler, body)


@pytest.mark.parametrize("error", [CloseConnection("by protocol"), RuntimeError("a bug")])
def test_a_handler_that_raises_costs_only_its_connection(error: Exception) -> None:
    async def handler(context: RequestContext, request: Any) -> Any:
        if request.member_id == "bad":
            raise error
        return _ok(context)

    async def body(server: Server, channel: Channel) -> None:
        with pytest.raises(OSError, match="closed"):
            await channel.call(_heartbeat("bad"), timeout_ms=5000)
        await channel.call(_heartbeat("good"), timeout_ms=5000)

    _served(handler, body)


def test_undecodable_bytes_close_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(context: RequestContext, request: Any) -> Any:
        return _ok(context)

    async def body(server: Server, channel: Channel) -> None:
        await channel.call(_heartbeat("m"), timeout_ms=5000)
        address = channel._address()
        assert address is not None
        reader, writer = await asyncio.open_connection(*address)
        writer.write(struct.pack(">ihhi", 9, HEARTBEAT, 4, 1) + b"\xff")
        assert await reader.read() == b""
        writer.close()

    _served(handler, body)
    assert "closing the connection" in caplog.text


def test_nobody_listens() -> None:
    async def main() -> None:
        channel = Channel(lambda: None)
        with pytest.raises(OSError, match="address is not known"):
            await channel.call(_heartbeat("m"), timeout_ms=1000)

    asyncio.run(main())


def test_durations_are_whole_milliseconds() -> None:
    assert messages.in_milliseconds(datetime.timedelta(milliseconds=1234)) == 1234
