"""Sends what is in files to a connection without reading it: `sendfile`.

asyncio's own `loop.sendfile` does not exist on uvloop, and what belongs to a transport cannot be watched there. So the
socket is written to past its transport, which must have nothing left to write, by a descriptor of our own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import ExitStack

from systems.broker.log.stored import Records, StoredRecords


class FileSender:
    """Of one connection. `close` it when the connection is lost: the socket lives as long as its last descriptor."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._descriptor = os.dup(transport.get_extra_info("socket").fileno())
        self._waiting: asyncio.Future[None] | None = None

    async def send(self, parts: Iterable[Records]) -> None:
        """In order; returns once the operating system has taken everything. Raises `OSError` where the connection is
        lost, or a file has become shorter than it was: then the connection is of no use any more."""
        with ExitStack() as stack:
            # All of them before the first wait: after it another file may have that name.
            opened = [(part, _open(part, stack)) for part in parts]
            for part, file in opened:
                if isinstance(part, StoredRecords):
                    await self._send_file(part, file)
                else:
                    await self._write(part)

    def close(self) -> None:
        if self._descriptor < 0:
            return
        asyncio.get_running_loop().remove_writer(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("connection lost"))

    async def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                await self._writable()

    async def _send_file(self, records: StoredRecords, file: int) -> None:
        position, end = records.position, records.position + len(records)
        while position < end:
            try:
                sent = os.sendfile(self._descriptor, file, position, end - position)
            except BlockingIOError:
                await self._writable()
                continue
            if sent == 0:
                raise ConnectionAbortedError(f"{records.name} ends at {position}, before {end}")
            position += sent

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        waiting = self._waiting = loop.create_future()
        loop.add_writer(self._descriptor, _wake, waiting)
        try:
            await waiting
        finally:
            self._waiting = None
            if self._descriptor >= 0:
                loop.remove_writer(self._descriptor)


def _open(part: Records, stack: ExitStack) -> int:
    if not isinstance(part, StoredRecords):
        return -1
    file = part.open()
    stack.callback(os.close, file)
    return file


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
