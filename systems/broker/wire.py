"""The Kafka protocol on a byte stream: frames, headers, and what kio knows of every message.

`serve` answers requests, `Channel` sends them. One frame is a 32-bit length, a header (key, version,
correlation id, client id; or the correlation id alone in a response) and a kio payload.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, cast

from kio.index import KioIndexError, load_request_schema, load_response_schema
from kio.serial import entity_reader

from harness.node import Address
from systems.broker.context import Handler, RequestContext
from systems.broker.kio_writing import Writer, payload_writer

log = logging.getLogger(__name__)

API_VERSIONS = 18
MAX_FRAME_BYTES = 104_857_600
"""Kafka's `socket.request.max.bytes`: a longer (or negative) length is not a Kafka client."""
MAX_WAITING_FRAMES = 16
"""Requests of one connection that are read ahead of the one being answered."""
DIAL_TIMEOUT_S = 1.0
RECONNECT_BACKOFF_S = 0.05

_LENGTH = struct.Struct(">i")
_REQUEST_HEADER = struct.Struct(">hhih")
_REQUEST_FRAME = struct.Struct(">ihhih")
_RESPONSE_FRAME = struct.Struct(">ii")

Handlers = Mapping[int, tuple[range, Handler]]


class WireError(Exception):
    """Bytes that are no message of this protocol; the message says what was wrong."""


class CloseConnection(Exception):
    """Raised by a handler where the protocol's answer is to hang up."""


class Request(NamedTuple):
    """A decoded request: its header's fields and the kio payload."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str | None
    payload: Any


class Encoded(NamedTuple):
    """A payload that its maker has already written: `body` is what follows the header."""

    api_key: int
    version: int
    flexible_header: bool
    body: bytes


class _RequestCodec(NamedTuple):
    read: Callable[[bytes, int], tuple[Any, int]]
    flexible: bool


@cache
def _request_codec(api_key: int, version: int) -> _RequestCodec:
    schema = load_request_schema(api_key, version)
    return _RequestCodec(entity_reader(cast(Any, schema)), schema.__flexible__)


@cache
def _response_reader(api_key: int, version: int) -> tuple[Callable[[bytes, int], tuple[Any, int]], bool]:
    """The payload's reader, and whether its header carries tagged fields (never for ApiVersions)."""
    schema = load_response_schema(api_key, version)
    return entity_reader(cast(Any, schema)), schema.__header_schema__.__flexible__


_writers: dict[type[Any], tuple[Writer, bool]] = {}


def _writer(schema: type[Any]) -> tuple[Writer, bool]:
    """The payload's writer, and whether its header carries tagged fields."""
    known = _writers.get(schema)
    if known is None:
        known = _writers[schema] = (payload_writer(cast(Any, schema)), schema.__header_schema__.__flexible__)
    return known


def encode_request(payload: Any, correlation_id: int, client_id: str | None) -> bytes:
    """A whole frame, length included."""
    name = client_id.encode() if client_id is not None else b""
    if type(payload) is Encoded:
        api_key, version, flexible_header, body = payload
        length = len(name) if client_id is not None else -1
        size = _REQUEST_HEADER.size + len(name) + flexible_header + len(body)
        header = _REQUEST_FRAME.pack(size, api_key, version, correlation_id, length)
        return b"".join((header, name, b"\0" if flexible_header else b"", body))
    write, flexible_header = _writer(type(payload))
    length = len(name) if client_id is not None else -1
    frame = bytearray(
        _REQUEST_FRAME.pack(0, payload.__api_key__, payload.__version__, correlation_id, length)
    )
    frame += name
    if flexible_header:
        frame.append(0)
    write(frame, payload)
    _LENGTH.pack_into(frame, 0, len(frame) - 4)
    return bytes(frame)


def decode_header(frame: bytes) -> tuple[int, int, int, str | None, int]:
    """(API key, version, correlation id, client id, where the client id ends) of a request without its
    length. Raises `WireError`."""
    try:
        api_key, version, correlation_id, length = _REQUEST_HEADER.unpack_from(frame)
        end = _REQUEST_HEADER.size + max(length, 0)
        if end > len(frame):
            raise WireError("the client id is longer than the request")
        client_id = frame[_REQUEST_HEADER.size : end].decode() if length >= 0 else None
    except (struct.error, UnicodeDecodeError) as error:
        raise WireError(f"no request header: {error}") from None
    return api_key, version, correlation_id, client_id, end


def decode_request(frame: bytes) -> Request:
    """A request without its length. Raises `WireError` for an unknown API or version and for bad bytes."""
    return _decode_body(frame, decode_header(frame))


def _decode_body(frame: bytes, header: tuple[int, int, int, str | None, int]) -> Request:
    api_key, version, correlation_id, client_id, position = header
    try:
        codec = _request_codec(api_key, version)
    except KioIndexError:
        raise WireError(f"unknown API {api_key} version {version}") from None
    try:
        if codec.flexible:
            position = _skip_tags(frame, position)
        payload, _ = codec.read(frame, position)
    except Exception as error:
        # kio and its native readers raise many kinds; whatever they are, the bytes are to blame.
        raise WireError(f"undecodable API {api_key} version {version}: {error!r}") from None
    return Request(api_key, version, correlation_id, client_id, payload)


def encode_response(payload: Any, correlation_id: int) -> bytes:
    """A whole frame, length included."""
    if type(payload) is Encoded:
        _, _, flexible_header, body = payload
        header = _RESPONSE_FRAME.pack(4 + flexible_header + len(body), correlation_id)
        return b"".join((header, b"\0" if flexible_header else b"", body))
    write, flexible_header = _writer(type(payload))
    frame = bytearray(_RESPONSE_FRAME.pack(0, correlation_id))
    if flexible_header:
        frame.append(0)
    write(frame, payload)
    _LENGTH.pack_into(frame, 0, len(frame) - 4)
    return bytes(frame)


def decode_response(frame: bytes, api_key: int, version: int) -> tuple[int, Any]:
    """(correlation id, kio payload) of a response without its length."""
    read, flexible_header = _response_reader(api_key, version)
    try:
        (correlation_id,) = _LENGTH.unpack_from(frame)
        position = _skip_tags(frame, 4) if flexible_header else 4
        payload, _ = read(frame, position)
    except Exception as error:
        raise WireError(f"undecodable response to API {api_key} version {version}: {error!r}") from None
    return correlation_id, payload


def _skip_tags(frame: bytes, position: int) -> int:
    count, position = _read_unsigned_varint(frame, position)
    for _ in range(count):
        _, position = _read_unsigned_varint(frame, position)
        size, position = _read_unsigned_varint(frame, position)
        position += size
    return position


def _read_unsigned_varint(frame: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = frame[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


class Frames:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, without their lengths. Raises `WireError` for a bad length."""
        source: bytes | bytearray = data
        if not self._rest and len(data) > 4 and _LENGTH.unpack_from(data)[0] == len(data) - 4:
            # As nearly always: exactly one.
            return [data[4:]]
        if self._rest:
            self._rest += data
            source = self._rest
        frames: list[bytes] = []
        position, available = 0, len(source)
        while available - position >= 4:
            (length,) = _LENGTH.unpack_from(source, position)
            if not 0 <= length <= MAX_FRAME_BYTES:
                raise WireError(f"a frame of {length} bytes")
            end = position + 4 + length
            if end > available:
                break
            frames.append(bytes(source[position + 4 : end]))
            position = end
        if source is data:
            self._rest += data[position:]
        else:
            del self._rest[:position]
        return frames


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
            request.api_key, request.version, request.correlation_id, request.client_id, self._peer
        )
        try:
            response = await handler(context, request.payload)
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
        if response is None or self._lost:
            return True
        self._transport.write(encode_response(response, request.correlation_id))
        if self._writable is not None:
            await self._writable
        return True


class Server:
    """Listens and answers from a table of handlers; made by `serve`."""

    def __init__(
        self, name: str, handlers: Handlers, on_error: Callable[[RequestContext, Exception], None]
    ) -> None:
        self.name = name
        self.on_error = on_error
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
        return _decode_body(frame, header), handler


async def serve(
    name: str,
    address: Address,
    handlers: Handlers,
    *,
    on_error: Callable[[RequestContext, Exception], None] = lambda context, error: None,
) -> Server:
    """Binds `address` and answers requests until closed. `name` is for the log; `on_error` hears of a
    handler that raised (a bug of the broker: the connection is closed, the broker lives on)."""
    server = Server(name, handlers, on_error)
    await server.start(address)
    return server


class _Pending(NamedTuple):
    correlation_id: int
    api_key: int
    version: int
    response: asyncio.Future[Any]
    deadline: float


class _Dialled(asyncio.Protocol):
    """Client side of one connection: responses come in the order of the requests."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.open = False
        self._frames = Frames()
        self._pending: deque[_Pending] = deque()
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.open = True

    def send(self, payload: Any, client_id: str | None, deadline: float) -> asyncio.Future[Any]:
        """The response, or `TimeoutError` at that loop time."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._next = (self._next + 1) & 0x7FFFFFFF
        self.transport.write(encode_request(payload, self._next, client_id))
        if type(payload) is Encoded:
            api_key, version = payload.api_key, payload.version
        else:
            api_key, version = payload.__api_key__, payload.__version__
        self._pending.append(_Pending(self._next, api_key, version, future, deadline))
        if self._timer is None or deadline < self._timer.when():
            self._set_timer(deadline)
        return future

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                pending = self._pending.popleft()
                correlation_id, payload = decode_response(frame, pending.api_key, pending.version)
                if correlation_id != pending.correlation_id:
                    raise WireError(f"response {correlation_id} to request {pending.correlation_id}")
                if not pending.response.done():
                    pending.response.set_result(payload)
        except (WireError, IndexError) as error:
            self.fail(f"bad response: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"connection lost: {exc}" if exc else "connection closed by the peer")

    def _set_timer(self, deadline: float) -> None:
        """One for the connection, not for each request: it looks when it fires what it is still about."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._look_for_late)

    def _look_for_late(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        late = [entry for entry in self._pending if entry.deadline <= now]
        for entry in late:
            if not entry.response.done():
                entry.response.set_exception(TimeoutError())
        if late:
            self.fail("a request timed out")
        elif self._pending:
            self._set_timer(min(entry.deadline for entry in self._pending))

    def fail(self, reason: str) -> None:
        """Closes; everything in flight has an unknown outcome."""
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.transport.abort()
        pending, self._pending = self._pending, deque()
        for entry in pending:
            if not entry.response.done():
                entry.response.set_exception(ConnectionResetError(reason))
                # Nobody may be waiting any more (timed out); that is no unhandled error.
                entry.response.exception()


class Channel:
    """Kafka requests to one node: pipelined on one connection, dialled when needed.

    As in Kafka's own client a request that times out takes the connection (and what else is in flight on
    it) with it, since a late answer could not be told from the next one's delay.
    """

    def __init__(
        self,
        address: Callable[[], Address | None],
        *,
        client_id: str | None = None,
    ) -> None:
        """`address` is asked at every dial; None where it is not known (yet)."""
        self._address = address
        self._client_id = client_id
        self._connection: _Dialled | None = None
        self._dialling: asyncio.Task[_Dialled] | None = None
        self._not_before = 0.0

    async def call(self, request: Any, *, timeout_ms: int) -> Any:
        """The kio response payload. Raises `OSError` or `TimeoutError`: the request may have been carried
        out or not."""
        deadline = asyncio.get_running_loop().time() + timeout_ms / 1000
        connection = self._connection
        if connection is None or not connection.open:
            async with asyncio.timeout_at(deadline):
                connection = await self._connected()
        return await connection.send(request, self._client_id, deadline)

    def close(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._connection is not None:
            self._connection.fail("closed")
            self._connection = None

    async def _connected(self) -> _Dialled:
        if self._dialling is None:
            self._dialling = asyncio.get_running_loop().create_task(self._dial())
            self._dialling.add_done_callback(self._dialled)
        return await asyncio.shield(self._dialling)

    def _dialled(self, task: asyncio.Task[_Dialled]) -> None:
        self._dialling = None
        if not task.cancelled() and task.exception() is None:
            self._connection = task.result()

    async def _dial(self) -> _Dialled:
        loop = asyncio.get_running_loop()
        if (wait := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait)
        self._not_before = loop.time() + RECONNECT_BACKOFF_S
        address = self._address()
        if address is None:
            raise ConnectionRefusedError("the node's address is not known")
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            _, connection = await loop.create_connection(_Dialled, address.host, address.port)
        return connection
