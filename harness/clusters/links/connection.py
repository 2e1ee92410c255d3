"""One connection through the proxies: its two ends, and a pipe in each direction."""

from __future__ import annotations

import asyncio
from typing import cast

from harness.clusters.links.link import Link, Pipe, reset
from harness.node import Address


class Connection:
    """Dialled by the source of `out`; what is said to it goes over `back`."""

    def __init__(self, number: int, out: Link, back: Link, target: Address) -> None:
        self.out = Pipe(out, number, self._finished)
        self.back = Pipe(back, number, self._finished)
        self._target = target
        self._dialling: asyncio.Task[None] | None = None
        self._open_ends = 1

    @property
    def over(self) -> bool:
        return self._open_ends == 0

    def accepted(self, transport: asyncio.Transport) -> None:
        self.out.sends_from(transport)
        self.back.arrives_at(transport)
        if "reject" in (self.out.link.cut, self.back.link.cut):
            reset(transport)
            return
        self.dial()

    def dial(self) -> None:
        """Once both directions are open: nobody is reached over a silent link."""
        if self._dialling is None and self.out.link.cut is None and self.back.link.cut is None:
            self._dialling = asyncio.ensure_future(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: End(self.back, self.out, self), *self._target)
        except OSError:
            self.out.reset()

    def reached(self, transport: asyncio.Transport) -> None:
        self._open_ends += 1
        self.back.sends_from(transport)
        self.out.arrives_at(transport)

    def _finished(self) -> None:
        if self.out.finished and self.back.finished:
            self.out.close_ends()

    def lost(self) -> None:
        self._open_ends -= 1
        if self._open_ends == 0:
            self.out.close()
            self.back.close()
            if self._dialling is not None:
                self._dialling.cancel()


class End(asyncio.Protocol):
    """One end: what it says goes into `says`; `hears` writes to it."""

    def __init__(self, says: Pipe, hears: Pipe, connection: Connection) -> None:
        self._says, self._hears, self._connection = says, hears, connection
        self._dials = says is connection.out

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclass.
        made = cast(asyncio.Transport, transport)
        if self._dials:
            self._connection.accepted(made)
        else:
            self._connection.reached(made)

    def data_received(self, data: bytes) -> None:
        self._says.carry(data)

    def eof_received(self) -> bool:
        self._says.end(abandoned=False)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._says.end(abandoned=True)
        self._connection.lost()

    def pause_writing(self) -> None:
        self._hears.hold_back(full=True)

    def resume_writing(self) -> None:
        self._hears.hold_back(full=False)
