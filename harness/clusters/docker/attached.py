"""The standard streams of a container, from before its start to its end.

The container was created with `StdinOnce`: when the harness goes, however it goes, the container's standard input
ends, and the program in it sees that.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

HEADER_BYTES = 8
"""Of each frame: the stream (1: stdout, 2: stderr), three zeroes, and the length."""


class Attached:
    """`ended` is done when the container's program is."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Callable[[int, bytes], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._heard = heard
        self.ended = asyncio.ensure_future(self._listen())

    async def send(self, data: bytes) -> None:
        """Raises `ConnectionError` once the container is gone."""
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self.ended.cancel()
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(HEADER_BYTES)
                payload = await self._reader.readexactly(int.from_bytes(header[4:], "big"))
                self._heard(header[0], payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            return


async def attach(container: Any, heard: Callable[[int, bytes], None]) -> Attached:
    """To be called before the container starts, so that nothing it says is missed. `heard` gets (stream, bytes)."""
    reader, writer = await asyncio.open_connection(sock=await asyncio.to_thread(_socket, container))
    return Attached(reader, writer, heard)


def _socket(container: Any) -> socket.socket:
    """A socket of our own: the client library's closes with its response."""
    raw = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    own = socket.socket(fileno=os.dup(raw.fileno()))
    own.setblocking(False)
    raw.close()
    return own
