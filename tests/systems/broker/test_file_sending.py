"""Answers that come from files: `sendfile` past the transport, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from kio.schema.errors import ErrorCode

from harness.folder_disk import FolderDisk
from harness.node import Address
from systems.broker import messages
from systems.broker.context import RequestContext
from systems.broker.log.stored import StoredRecords
from systems.broker.server import Server, serve
from systems.broker.wire import Streamed, encode_request

HEARTBEAT = 12
MEGABYTE = 1 << 20
FILE = "t-0/0.log"
LARGE = 12 * MEGABYTE
"""More than a socket's buffers hold."""

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


class Stored:
    """A disk with one file, and a server that answers a heartbeat of member `n` with that many bytes of it, twice: in
    front of them stands `<`, in between `|`, behind them `>`. Any other member gets an ordinary answer."""

    def __init__(self, folder: Path) -> None:
        self.disk = FolderDisk(folder)
        self.content = random.Random(1).randbytes(LARGE)
        self.disk.append(FILE, self.content)
        self.asked = asyncio.Event()

    async def on_heartbeat(self, context: RequestContext, request: Any) -> Any:
        self.asked.set()
        if not request.member_id.isdigit():
            return messages.response(context, error_code=ErrorCode.none)
        records = StoredRecords(self.disk, FILE, 7, int(request.member_id))
        return Streamed(HEARTBEAT, 4, True, (b"<", records, b"|", records, b">"))

    def expected(self, size: int) -> bytes:
        records = self.content[7 : 7 + size]
        return b"<" + records + b"|" + records + b">"


def asked(member: str | int) -> bytes:
    request = messages.request(
        HEARTBEAT, 4, group_id="g", generation_id=1, member_id=str(member), group_instance_id=None
    )
    return encode_request(request, 7, None)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body."""
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return (await reader.readexactly(size))[5:]


def open_descriptors(folder: Path) -> int:
    """Of sockets, and of the folder's files but the one that the disk itself appends to."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    sockets = sum(link.startswith("socket:") for link in links)
    return sockets + max(sum(link.startswith(str(folder)) for link in links) - 1, 0)


def with_client(
    loop: Callable[[], asyncio.AbstractEventLoop], folder: Path, body: Callable[..., Awaitable[None]]
) -> None:
    async def main() -> None:
        stored = Stored(folder)
        server: Server = await serve(
            "b1", Address("127.0.0.1", 0), {HEARTBEAT: (range(5), stored.on_heartbeat)}
        )
        assert server._listener is not None
        port = server._listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(20):
                await body(stored, reader, writer)
        finally:
            writer.close()
            await server.close()

    before = open_descriptors(folder)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert open_descriptors(folder) <= before, "descriptors are left over"


@LOOPS
def test_answers_from_files_and_others_come_in_order(loop: Any, tmp_path: Path) -> None:
    async def body(stored: Stored, reader: Any, writer: Any) -> None:
        wanted = ["plain", 1, "plain", 3 * MEGABYTE, "plain", "plain", 1000]
        writer.write(b"".join(map(asked, wanted)))
        for one in wanted:
            got = await answer(reader)
            assert got == stored.expected(one) if isinstance(one, int) else len(got) == 7

    with_client(loop, tmp_path, body)


@LOOPS
def test_a_slow_reader_gets_everything_and_blocks_nobody(loop: Any, tmp_path: Path) -> None:
    async def body(stored: Stored, reader: Any, writer: Any) -> None:
        size = LARGE - 7
        writer.write(asked(size) + asked("plain"))
        await stored.asked.wait()
        await asyncio.sleep(0.1)
        other_reader, other = await asyncio.open_connection(*writer.get_extra_info("peername"))
        other.write(asked("plain"))
        assert len(await answer(other_reader)) == 7
        other.close()
        got = bytearray()
        while len(got) < 2 * size + 12:
            got += await reader.read(200_000)
            await asyncio.sleep(0)
        assert bytes(got[9 : 9 + 2 * size + 3]) == stored.expected(size)

    with_client(loop, tmp_path, body)


@LOOPS
@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_reader_that_leaves_in_the_middle_leaves_nothing_behind(
    loop: Any, tmp_path: Path, how: str
) -> None:
    async def body(stored: Stored, reader: Any, writer: Any) -> None:
        writer.write(asked(LARGE - 7))
        await reader.readexactly(1000)
        writer.close() if how == "close" else writer.transport.abort()
        other_reader, other = await asyncio.open_connection(*writer.get_extra_info("peername"))
        other.write(asked(5))
        assert await answer(other_reader) == stored.expected(5)
        other.close()

    with_client(loop, tmp_path, body)


@LOOPS
def test_a_file_that_is_removed_meanwhile_is_sent_to_its_end(loop: Any, tmp_path: Path) -> None:
    async def body(stored: Stored, reader: Any, writer: Any) -> None:
        size = LARGE - 7
        writer.write(asked(size))
        await reader.readexactly(4)
        stored.disk.remove(FILE)
        stored.disk.append(FILE, b"another one, under the same name" * 1_000_000)
        got = await reader.readexactly(5 + 2 * size + 3)
        assert got[5:] == stored.expected(size)

    with_client(loop, tmp_path, body)


@LOOPS
def test_a_file_that_is_cut_meanwhile_costs_the_connection(loop: Any, tmp_path: Path) -> None:
    async def body(stored: Stored, reader: Any, writer: Any) -> None:
        size = LARGE - 7
        writer.write(asked(size))
        await reader.readexactly(4)
        stored.disk.truncate(FILE, 100)
        assert len(await reader.read(-1)) < 5 + 2 * size + 3

    with_client(loop, tmp_path, body)
