"""One port for clients and nodes: the first byte of a connection tells RESP from the frames between nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from systems.quorum.resp.commands import Commands, Session
from systems.quorum.resp.protocol import Error, Parser, ProtocolError, encoded
from systems.rpc import PREAMBLE, Codec, Handler, ServerConnection

MAX_WAITING = 1_024
"""Pipelined requests of one connection; beyond it nothing more is read."""


class Front(asyncio.Protocol):
    """Becomes the one or the other."""

    def __init__(self, codec: Codec, handler: Handler, commands: Commands) -> None:
        self._codec, self._handler, self._commands = codec, handler, commands
        self._transport: asyncio.Transport | None = None
        self._chosen: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._chosen is None:
            assert self._transport is not None
            between_nodes = data[:1] == PREAMBLE[:1]
            self._chosen = (
                ServerConnection(self._codec, self._handler)
                if between_nodes
                else RespConnection(self._commands)
            )
            self._chosen.connection_made(self._transport)
        self._chosen.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._chosen is not None:
            self._chosen.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._chosen is not None:
            self._chosen.pause_writing()

    def resume_writing(self) -> None:
        if self._chosen is not None:
            self._chosen.resume_writing()


class RespConnection(asyncio.Protocol):
    """Pipelined requests are carried out one after the other, as their client expects."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._parser = Parser()
        self._session = Session()
        self._waiting: list[list[bytes]] = []
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._drained = asyncio.Event()
        self._drained.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            self._waiting += self._parser.feed(data)
        except ProtocolError as error:
            self._transport.write(encoded(Error(f"ERR Protocol error: {error}")))
            self._transport.close()
            return
        if len(self._waiting) > MAX_WAITING:
            self._transport.pause_reading()
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._work())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    async def _work(self) -> None:
        assert self._transport is not None
        while self._waiting:
            words = self._waiting.pop(0)
            answer = await self._commands.run(self._session, words)
            # A client that never reads must not fill the memory with answers.
            await self._drained.wait()
            if self._transport.is_closing():
                return
            self._transport.write(encoded(answer, self._session.version))
            if self._session.closing:
                self._transport.close()
                return
        self._transport.resume_reading()


def front(codec: Codec, handler: Handler, commands: Commands) -> Callable[[], Front]:
    return lambda: Front(codec, handler, commands)
