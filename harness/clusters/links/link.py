"""What one directed link does to the bytes that it carries."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from harness.cluster import How

RETRANSMISSION_S: Final = 0.2
"""What a lost packet costs a stream: TCP sends it again after that."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
WINDOW_BYTES: Final = 1 << 20
"""So much may wait in a pipe before its sender is held back, as by TCP's window."""


class Link:
    """The state of a link; changed and read in the loop of the proxies only."""

    def __init__(self, source: str, target: str, rng: random.Random) -> None:
        self.source = source
        self.target = target
        self.cut: How | None = None
        self.latency_s = 0.0
        self.jitter_s = 0.0
        self.loss = 0.0
        self.bytes_per_s = 0.0
        self.pipes: dict[int, Pipe] = {}
        self._rng = rng
        self._line_free_at = 0.0

    @property
    def sound(self) -> bool:
        return self.cut is None and not (self.latency_s or self.jitter_s or self.loss or self.bytes_per_s)

    def arrival(self, size: int, now: float) -> float:
        """When bytes that are sent now arrive."""
        at = now
        if self.bytes_per_s:
            self._line_free_at = max(self._line_free_at, now) + size / self.bytes_per_s
            at = self._line_free_at
        at += self.latency_s + self.jitter_s * self._rng.random()
        wait = RETRANSMISSION_S
        while self.loss and self._rng.random() < self.loss:
            at += wait
            wait *= 2
        return at


class Pipe:
    """One direction of one connection: bytes of `sender` on their way to `receiver`, in order."""

    def __init__(self, link: Link, number: int, finished: Callable[[], None]) -> None:
        """`finished` is called when the end of the stream has been delivered."""
        self.link = link
        self.finished = False
        self._on_finished = finished
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._sender: asyncio.Transport | None = None
        self._receiver: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        """(when it is due, bytes); empty bytes are the end of the stream."""
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.abandoned = False
        """The sender is gone."""
        link.pipes[number] = self

    def sends_from(self, transport: asyncio.Transport) -> None:
        self._sender = transport

    def arrives_at(self, transport: asyncio.Transport) -> None:
        self._receiver = transport
        self.flow()

    def carry(self, data: bytes) -> None:
        if self.link.sound and not self._waiting and self._receiver is not None:
            self._deliver(data)
            return
        self._due = max(self._due, self.link.arrival(len(data), self._loop.time()))
        self._waiting.append((self._due, data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > WINDOW_BYTES:
            self.hold_back(full=True)
        self.flow()

    def end(self, *, abandoned: bool) -> None:
        """The sender has said all it will: closed, or (`abandoned`) reset."""
        self.abandoned = self.abandoned or abandoned
        self._waiting.append((max(self._due, self._loop.time()), b""))
        self.flow()

    def flow(self) -> None:
        """Delivers what is due, unless the link is cut."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.link.cut is not None or self._receiver is None:
            return
        now = self._loop.time()
        held_back = self._waiting_bytes > WINDOW_BYTES
        while self._waiting and self._waiting[0][0] <= now:
            data = self._waiting.popleft()[1]
            if not data:
                self._finish()
                return
            self._deliver(data)
            self._waiting_bytes -= len(data)
        if held_back and self._waiting_bytes <= WINDOW_BYTES:
            self.hold_back(full=False)
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self.flow)

    def _deliver(self, data: bytes) -> None:
        assert self._receiver is not None
        if not self._receiver.is_closing():
            # uvloop raises for one that is.
            self._receiver.write(data)

    def _finish(self) -> None:
        assert self._receiver is not None
        self.finished = True
        if self.abandoned:
            # What was delivered just now must not be thrown away by a reset behind it.
            self._receiver.close()
        elif not self._receiver.is_closing():
            self._receiver.write_eof()
        self._on_finished()

    def healed(self, was: How) -> None:
        """What was dropped is sent again by whoever is still there; what was held comes in any case."""
        if was == "drop" and self.abandoned and self._receiver is not None:
            reset(self._receiver)
            return
        self.flow()

    def close_ends(self) -> None:
        for transport in (self._sender, self._receiver):
            if transport is not None:
                transport.close()

    def reset(self) -> None:
        for transport in (self._sender, self._receiver):
            if transport is not None:
                reset(transport)

    def hold_back(self, full: bool) -> None:
        """Backpressure: whoever writes into a full pipe waits, as with a window of TCP."""
        if self._sender is None or self._sender.is_closing():
            return
        if full:
            self._sender.pause_reading()
        else:
            self._sender.resume_reading()

    def close(self) -> None:
        self.link.pipes.pop(self._number, None)
        if self._timer is not None:
            self._timer.cancel()


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection so that its far end is told of an error, not of an end."""
    end = transport.get_extra_info("socket")
    if end is not None and not transport.is_closing():
        # It may be gone already.
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
