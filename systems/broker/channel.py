"""The asking side of the Kafka protocol: a channel to one node."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from harness.node import Address, NodeEnvironment
from systems.broker.message_kinds import REQUESTS, RESPONSES
from systems.broker.wire import Encoded, Frames, WireError, decode_response, encode_request
from systems.delayed_messages import DelayedMessages

DIAL_TIMEOUT_S = 1.0
RECONNECT_BACKOFF_S = 0.05
LATE_TIMEOUT_S = 1.0
"""How long a request that arrives after it was given up is waited for."""


class _Pending(NamedTuple):
    correlation_id: int
    api_key: int
    version: int
    response: asyncio.Future[Any]
    deadline: float


class _Dialled(asyncio.Protocol):
    """Client side of one connection: responses come in the order of the requests."""

    def __init__(self, delayed: tuple[DelayedMessages, DelayedMessages] | None = None) -> None:
        self.delayed = delayed
        self.transport: asyncio.Transport
        self.open = False
        self._frames = Frames()
        self._pending: deque[_Pending] = deque()
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.open = True

    @property
    def delays(self) -> bool:
        """Whether a fault holds messages back now, or some are still held."""
        return self.delayed is not None and any(d.active or d.queues for d in self.delayed)

    def send(self, payload: Any, client_id: str | None, deadline: float) -> asyncio.Future[Any]:
        """The response, or `TimeoutError` at that loop time."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self.open:
            # Lost before whoever dialled had its first turn.
            future.set_exception(ConnectionResetError("connection lost"))
            return future
        self._next = (self._next + 1) & 0x7FFFFFFF
        data = encode_request(payload, self._next, client_id)
        api_key, version = _api(payload)
        if not self.transport.is_closing():
            # uvloop raises for one that is; its end comes as `connection_lost`.
            self.transport.write(data)
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


def _api(payload: Any) -> tuple[int, int]:
    """Key and version."""
    if type(payload) is Encoded:
        return payload.api_key, payload.version
    return payload.__api_key__, payload.__version__


def _copy(answer: asyncio.Future[Any], to: asyncio.Future[Any]) -> None:
    if to.done() or answer.cancelled():
        return
    error = answer.exception()
    if error is None:
        to.set_result(answer.result())
    else:
        to.set_exception(error)
        # Nobody may be waiting any more; that is no unhandled error.
        to.exception()


def channel_to(env: NodeEnvironment, peer: str) -> Channel:
    """From this node to another one."""

    def delayed() -> tuple[DelayedMessages, DelayedMessages]:
        return DelayedMessages(env.delays, env.name, peer), DelayedMessages(env.delays, peer, env.name)

    return Channel(lambda: env.peer(peer), client_id=env.name, delayed=delayed)


class Channel:
    """Kafka requests to one node: pipelined on one connection, dialled when needed.

    As in Kafka's own client a request that times out takes the connection (and what else is in flight on
    it) with it, since a late answer could not be told from the next one's delay.
    Nodes make theirs with `channel_to`, so that faults can delay their messages by kind.
    """

    def __init__(
        self,
        address: Callable[[], Address | None],
        *,
        client_id: str | None = None,
        delayed: Callable[[], tuple[DelayedMessages, DelayedMessages]] | None = None,
    ) -> None:
        """`address` is asked at every dial; None where it is not known (yet). `delayed` makes what holds the
        requests and the responses of one connection back: those of the next one overtake them."""
        self._delayed = delayed
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
        try:
            if connection.delays:
                response = await self._send_late(connection, request, deadline)
            else:
                response = await connection.send(request, self._client_id, deadline)
            if connection.delays:
                await self._until_passed(connection, request, deadline)
        except TimeoutError:
            if self._connection is connection:
                self._connection = None
            raise
        return response

    async def _send_late(self, connection: _Dialled, request: Any, deadline: float) -> Any:
        """Where a fault may hold the request back. One that was given up is in the network all the same, and
        arrives: its connection stays until then, and a retry takes another one."""
        assert connection.delayed is not None
        requests, _ = connection.delayed
        kind = REQUESTS.get(_api(request)[0])
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Any] = loop.create_future()

        def send() -> None:
            until = max(deadline, loop.time() + LATE_TIMEOUT_S)
            answer = connection.send(request, self._client_id, until)
            answer.add_done_callback(lambda answer: _copy(answer, answered))

        if kind is None or not requests.holds(kind, send):
            send()
        async with asyncio.timeout_at(deadline):
            return await answered

    @staticmethod
    async def _until_passed(connection: _Dialled, request: Any, deadline: float) -> None:
        assert connection.delayed is not None
        _, responses = connection.delayed
        kind = RESPONSES.get(_api(request)[0])
        if kind is not None:
            async with asyncio.timeout_at(deadline):
                await responses.passed(kind)

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
            delayed = self._delayed() if self._delayed is not None else None
            _, connection = await loop.create_connection(
                lambda: _Dialled(delayed), address.host, address.port
            )
        return connection
