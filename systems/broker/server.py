"""The answering side of the Kafka protocol: listens, and answers each connection's requests in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from kio.index import load_request_schema

from harness.node import Address
from systems.broker.context import Handler, RequestContext
from systems.broker.file_sending import FileSender
from systems.broker.messages import with_throttle_time
from systems.broker.wire import (
    Frames,
    Request,
    Streamed,
    WireError,
    decode_body,
    decode_header,
    encode_in_parts,
    encode_response,
)

log = logging.getLogger(__name__)

API_VERSIONS = 18
MAX_WAITING_FRAMES = 16
"""Requests of one connection that are read ahead of the one being answered."""

Handlers = Mapping[int, tuple[range, Handler]]


OnRequest = Callable[[RequestContext], int]
"""For how many milliseconds whoever asked is throttled."""


class Throttled(NamedTuple):
    """A handler's answer, where the handler itself has found out for how long the client is throttled."""

    response: Any
    throttle_ms: int


class CloseConnection(Exception):
    """Raised by a handler where the protocol's answer is to hang up."""


class _Connection(asyncio.Protocol):
    """Server side of one connection. As in Kafka, requests are carried out and answered one after the
    other; what was received before the peer hung up is still carried out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._frames = Frames()
        self._waiting: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._lost = False
        self._files: FileSender | None = None
        self._transport: asyncio.Transport
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self._peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
        task = asyncio.get_running_loop().create_task(self._answer_in_order())
        self._server.connections[self] = task
        task.add_done_callback(lambda _: self._server.connections.pop(self, None))

    def data_received(self, data: bytes) -> None:
        try:
            self._waiting.extend(self._frames.feed(data))
        except WireError as error:
            log.warning("%s: closing the connection of %s: %s", self._server.name, self._peer, error)
            self._transport.abort()
            return
        if len(self._waiting) > MAX_WAITING_FRAMES and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._notify()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._files is not None:
            self._files.close()
        self._notify()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def close(self) -> None:
        self._transport.abort()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _answer_in_order(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._waiting:
                if not await self._answer(self._waiting.popleft()):
                    self._waiting.clear()
                    self._transport.close()
                    return
                if not self._reading and not self._waiting and not self._lost:
                    self._reading = True
                    self._transport.resume_reading()
            if self._lost:
                return
            self._wake = loop.create_future()
            await self._wake

    async def _answer(self, frame: bytes) -> bool:
        """Carries out one request; False where the connection must be closed."""
        try:
            request, handler = self._server.dispatch(frame)
        except WireError as error:
            log.warning("%s: closing the connection of %s: %s", self._server.name, self._peer, error)
            return False
        context = RequestContext(
            request.api_key,
            request.version,
            request.correlation_id,
            request.client_id,
            self._peer,
            len(frame),
        )
        try:
            response = await handler(context, request.payload)
            if type(response) is Throttled:
                response, throttle_ms = response
            else:
                throttle_ms = self._server.on_request(context)
        except CloseConnection:
            return False
        except Exception as error:
            log.exception(
                "%s: API %d version %d of %s failed",
                self._server.name,
                request.api_key,
                request.version,
                self._peer,
            )
            self._server.on_error(context, error)
            return False
        if response is not None and not self._lost and not self._transport.is_closing():
            if throttle_ms:
                response = with_throttle_time(response, throttle_ms)
            if not await self._send(response, request.correlation_id):
                return False
        if throttle_ms:
            await self._mute(throttle_ms)
        return True

    async def _send(self, response: Any, correlation_id: int) -> bool:
        """Returns once no more than the transport's limit is left to be written; False where the connection is
        lost meanwhile."""
        if type(response) is Streamed and self._transport.get_write_buffer_size() == 0:
            if self._files is None:
                self._files = FileSender(self._transport)
            try:
                await self._files.send(encode_in_parts(response, correlation_id))
            except OSError as error:
                log.debug("%s: connection of %s lost: %s", self._server.name, self._peer, error)
                return False
            return True
        self._transport.write(encode_response(response, correlation_id))
        if self._writable is not None:
            await self._writable
        return True

    async def _mute(self, throttle_ms: int) -> None:
        """KIP-219: answered at once, then not listened to. What is read meanwhile waits."""
        loop = asyncio.get_running_loop()
        until = loop.time() + throttle_ms / 1000
        while not self._lost and (left := until - loop.time()) > 0:
            self._wake = loop.create_future()
            timer = loop.call_later(left, self._notify)
            await self._wake
            timer.cancel()


class Server:
    """Listens and answers from a table of handlers; made by `serve`."""

    def __init__(
        self,
        name: str,
        handlers: Handlers,
        on_error: Callable[[RequestContext, Exception], None],
        on_request: OnRequest = lambda context: 0,
    ) -> None:
        self.name = name
        self.on_error = on_error
        self.on_request = on_request
        self.connections: dict[_Connection, asyncio.Task[None]] = {}
        self._handlers = handlers
        self._listener: asyncio.AbstractServer | None = None

    async def start(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self.connection, address.host, address.port, reuse_address=True
        )

    def connection(self) -> asyncio.Protocol:
        """The protocol of one accepted connection, for a port that serves other protocols too."""
        return _Connection(self)

    async def close(self) -> None:
        """Stops listening and drops every connection."""
        if self._listener is not None:
            self._listener.close()
        for connection, task in list(self.connections.items()):
            connection.close()
            task.cancel()
        await asyncio.gather(*self.connections.values(), return_exceptions=True)

    def dispatch(self, frame: bytes) -> tuple[Request, Handler]:
        """Raises `WireError` for what no handler can take."""
        header = decode_header(frame)
        api_key, version, correlation_id, client_id, _ = header
        entry = self._handlers.get(api_key)
        if entry is None:
            raise WireError(f"API {api_key} version {version} is not served here")
        versions, handler = entry
        if version not in versions:
            if api_key != API_VERSIONS:
                raise WireError(f"API {api_key} version {version} is not served here")
            # A client newer than we are learns what we speak: always answered, in version 0, whatever
            # the body was. The handler sees the version that was asked for and reports the error.
            empty = load_request_schema(API_VERSIONS, 0)()
            return Request(api_key, version, correlation_id, client_id, empty), handler
        return decode_body(frame, header), handler


async def serve(
    name: str,
    address: Address,
    handlers: Handlers,
    *,
    on_error: Callable[[RequestContext, Exception], None] = lambda context, error: None,
    on_request: OnRequest = lambda context: 0,
) -> Server:
    """Binds `address` and answers requests until closed. `name` is for the log; `on_error` hears of a
    handler that raised (a bug of the broker: the connection is closed, the broker lives on); `on_request`
    of every request that was carried out, and may throttle its client."""
    server = Server(name, handlers, on_error, on_request)
    await server.start(address)
    return server
