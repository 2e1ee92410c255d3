"""A client that asks and never reads costs a broker so much memory and no more."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from kio.schema.errors import ErrorCode

from harness.node import Address
from systems.broker import messages
from systems.broker.context import RequestContext
from systems.broker.server import MAX_WAITING_FRAMES, serve
from systems.broker.wire import encode_request

SYNC_GROUP = 14
ASKED = 3_000
ANSWER_BYTES = 1 << 20
SOCKET_BYTES = 16 << 20
"""More than the kernel keeps for both ends of a connection."""


async def _ask_for_ever(port: int) -> None:
    """Writes as long as the broker takes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    request = messages.request(
        SYNC_GROUP, 3, group_id="g", generation_id=1, member_id="m", group_instance_id=None, assignments=()
    )
    try:
        for number in range(ASKED):
            writer.write(encode_request(request, number, "x" * 20_000))
            await asyncio.wait_for(writer.drain(), 2)
    finally:
        writer.transport.abort()
        del reader


def test_what_is_not_read_is_not_answered_and_not_taken() -> None:
    carried_out = 0

    async def handler(context: RequestContext, request: Any) -> Any:
        nonlocal carried_out
        carried_out += 1
        return messages.response(context, error_code=ErrorCode.none, assignment=b"x" * ANSWER_BYTES)

    async def main() -> tuple[int, int]:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        server = await serve("b1", Address("127.0.0.1", port), {SYNC_GROUP: (range(0, 6), handler)})
        asking = asyncio.ensure_future(_ask_for_ever(port))
        await asyncio.sleep(1.5)
        (connection,) = server.connections
        waiting, unsent = len(connection._waiting), connection._transport.get_write_buffer_size()
        assert not asking.done(), "the broker took every request, although none of its answers was read"
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await server.close()
        return waiting, unsent

    waiting, unsent = asyncio.run(main())
    # One read of the socket may hold several requests more than it takes to stop reading.
    assert waiting <= MAX_WAITING_FRAMES + 64
    assert unsent <= 2 * ANSWER_BYTES
    assert carried_out * ANSWER_BYTES <= SOCKET_BYTES + 2 * ANSWER_BYTES
