"""One port, two protocols: Kafka requests from brokers, Raft frames from controllers and observers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from systems.rpc import PREAMBLE

ProtocolFactory = Callable[[], asyncio.Protocol]


class PortProtocol(asyncio.Protocol):
    """Becomes one or the other at the first byte of a connection."""

    def __init__(self, kafka: ProtocolFactory, rpc: ProtocolFactory) -> None:
        self._kafka = kafka
        self._rpc = rpc
        self._transport: asyncio.BaseTransport | None = None
        self._chosen: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._chosen is None:
            self._chosen = self._rpc() if data[:1] == PREAMBLE[:1] else self._kafka()
            assert self._transport is not None
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
