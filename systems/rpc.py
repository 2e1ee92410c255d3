"""Requests, responses and one-way messages between nodes, as msgpack frames of `msgspec` structs.

A connection starts with `PREAMBLE`, so that one port can serve this and the Kafka protocol, whose first
byte is the top of a non-negative length. Then frames: length (4 bytes, of what follows), kind (1),
correlation id (4), msgpack. Requests are pipelined; responses come back in any order.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import msgspec

from harness.node import Address, NodeEnvironment
from systems.delayed_messages import DelayedMessages

PREAMBLE: Final = b"\xffrpc"
_HEADER: Final = struct.Struct(">IBI")
_LENGTH_BYTES: Final = 4
_ONE_WAY, _REQUEST, _RESPONSE = 0, 1, 2
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024

Handler = Callable[[Any], Any | Awaitable[Any]]
"""Takes a decoded message; returns the response (or an awaitable of it), which a one-way message ignores.
A raised `ConnectionError` drops the connection without an answer."""


class Codec:
    """Encodes any struct; decodes one of a fixed set of tagged structs, whose tags are `kinds`."""

    def __init__(self, *messages: type[msgspec.Struct]) -> None:
        union: Any = messages[0]
        for message in messages[1:]:
            union = union | message
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(union).decode
        self.kinds = frozenset(kind_of(message) for message in messages)


def kind_of(message: Any) -> str:
    """What faults call this message (or its type): its tag."""
    return str(message.__struct_config__.tag)


class _Frames(asyncio.Protocol):
    """Cuts a byte stream into frames."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._together: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclass.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """What is answered at once is written at once, in one piece."""
        self._together = []
        self._receive(data)
        together, self._together = self._together, None
        if together:
            self._write(b"".join(together))

    def _receive(self, data: bytes) -> None:
        received = self._received
        received += data
        start = self._skip_preamble(received)
        end = len(received)
        while end - start >= _HEADER.size:
            length, kind, correlation = _HEADER.unpack_from(received, start)
            if length > MAX_FRAME_BYTES:
                self.abort()
                return
            stop = start + _LENGTH_BYTES + length
            if end < stop:
                break
            try:
                message = self._codec.decode(bytes(memoryview(received)[start + _HEADER.size : stop]))
            except msgspec.MsgspecError:
                self.abort()
                return
            start = stop
            self.on_frame(kind, correlation, message)
        if start:
            del received[:start]

    def _skip_preamble(self, received: bytearray) -> int:
        return 0

    def on_frame(self, kind: int, correlation: int, message: Any) -> None:
        raise NotImplementedError

    def send(self, kind: int, correlation: int, message: Any) -> None:
        body = self._codec.encode(message)
        frame = _HEADER.pack(len(body) + 5, kind, correlation) + body
        if self._together is not None:
            self._together.append(frame)
        else:
            self._write(frame)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class ServerConnection(_Frames):
    """The accepting side of one connection: a protocol for `loop.create_server`."""

    def __init__(self, codec: Codec, handler: Handler) -> None:
        super().__init__(codec)
        self._handler = handler
        self._greeted = False
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._answered = 0

    def connection_lost(self, exc: Exception | None) -> None:
        for task in list(self._answering.values()):
            task.cancel()

    def _skip_preamble(self, received: bytearray) -> int:
        if self._greeted or len(received) < len(PREAMBLE):
            return 0
        if not received.startswith(PREAMBLE):
            self.abort()
            received.clear()
            return 0
        self._greeted = True
        return len(PREAMBLE)

    def on_frame(self, kind: int, correlation: int, message: Any) -> None:
        answer = self._handler(message)
        if not isinstance(answer, Awaitable):
            if kind == _REQUEST:
                self.send(_RESPONSE, correlation, answer)
            return
        task = asyncio.ensure_future(self._answer(kind, correlation, answer))
        self._answered = number = self._answered + 1
        self._answering[number] = task
        task.add_done_callback(lambda _: self._answering.pop(number, None))

    async def _answer(self, kind: int, correlation: int, answer: Awaitable[Any]) -> None:
        try:
            response = await answer
        except ConnectionError:
            self.abort()
            return
        if kind == _REQUEST:
            self.send(_RESPONSE, correlation, response)


class _ClientConnection(_Frames):
    def __init__(self, codec: Codec, answers: DelayedMessages | None) -> None:
        super().__init__(codec)
        self.pending: dict[int, asyncio.Future[Any]] = {}
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._transport is not None
        self._transport.write(PREAMBLE)

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def on_frame(self, kind: int, correlation: int, message: Any) -> None:
        answers = self._answers
        if (
            answers is not None
            and (answers.active or answers.queues)
            and answers.holds(kind_of(message), lambda: self._answered(correlation, message))
        ):
            return
        self._answered(correlation, message)

    def _answered(self, correlation: int, message: Any) -> None:
        future = self.pending.pop(correlation, None)
        if future is not None and not future.done():
            future.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:
        pending, self.pending = self.pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(ConnectionResetError("connection lost before the response"))


def link_to(env: NodeEnvironment, peer: str, codec: Codec) -> Link:
    """From this node to another one."""
    return Link(
        env.peer(peer),
        codec,
        requests=DelayedMessages(env.delays, env.name, peer),
        answers=DelayedMessages(env.delays, peer, env.name),
    )


class Link:
    """The dialling side: one connection to one node, dialled when needed and again after a failure.

    A call that times out takes its connection down: nothing tells a silent peer from a stalled stream,
    and on a new connection the next call need not wait behind the stalled bytes.
    Nodes make theirs with `link_to`, so that faults can delay their messages by kind.
    """

    def __init__(
        self,
        address: Address,
        codec: Codec,
        *,
        requests: DelayedMessages | None = None,
        answers: DelayedMessages | None = None,
    ) -> None:
        self._address = address
        self._codec = codec
        self._requests = requests
        self._answers = answers
        self._connection: _ClientConnection | None = None
        self._dialling: asyncio.Task[_ClientConnection] | None = None
        self._correlation = 0

    async def call(self, message: Any, *, timeout_ms: float) -> Any:
        """The response. Raises `OSError` or `TimeoutError`; the request may then have been carried out or not."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        connection = self._connection
        if connection is None or not connection.open:
            async with asyncio.timeout_at(deadline):
                connection = await asyncio.shield(self._dial())
        self._correlation = correlation = (self._correlation + 1) & 0xFFFFFFFF
        future: asyncio.Future[Any] = loop.create_future()
        connection.pending[correlation] = future
        timer = loop.call_at(deadline, self._time_out, connection, future)
        self._send(connection, _REQUEST, correlation, message)
        try:
            return await future
        finally:
            timer.cancel()
            connection.pending.pop(correlation, None)

    def send(self, message: Any) -> None:
        """One way, no promise: dropped where no connection stands (one is then dialled for the next)."""
        if self._connection is not None and self._connection.open:
            self._send(self._connection, _ONE_WAY, 0, message)
        else:
            self._dial().add_done_callback(lambda task: task.cancelled() or task.exception())

    def _send(self, connection: _ClientConnection, kind: int, correlation: int, message: Any) -> None:
        requests = self._requests
        if (
            requests is not None
            and (requests.active or requests.queues)
            and requests.holds(kind_of(message), lambda: connection.send(kind, correlation, message))
        ):
            return
        connection.send(kind, correlation, message)

    def close(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
        if self._connection is not None:
            self._connection.abort()

    def _dial(self) -> asyncio.Task[_ClientConnection]:
        if self._dialling is None or self._dialling.done():
            self._dialling = asyncio.ensure_future(self._connect())
            self._dialling.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._dialling

    async def _connect(self) -> _ClientConnection:
        async with asyncio.timeout(2):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _ClientConnection(self._codec, self._answers), self._address.host, self._address.port
            )
        self._connection = connection
        return connection

    @staticmethod
    def _time_out(connection: _ClientConnection, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(TimeoutError("no response in time"))
        connection.abort()
