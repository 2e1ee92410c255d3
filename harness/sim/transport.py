"""One end of a simulated connection, with asyncio's transport interface.

The program sees `write`, `close`, `abort`, flow control and its protocol's callbacks; the kernel of the
host, which outlives the program, sees what arrives (`receive`) and answers for a dead program.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from harness.sim.choices import CLOSE_OF_KILLED, SEGMENT
from harness.sim.errors import ProcessKilled
from harness.sim.handles import Handle
from harness.sim.host import DEAD, RUNNING, Process
from harness.sim.pipe import FIN, RST, Mark, Pipe

if TYPE_CHECKING:
    from harness.sim.network import Network

WINDOW: Final = 262_144
"""Bytes that the kernels of both ends buffer before a transport's own write buffer grows."""
HIGH_WATER: Final = 65_536
SEGMENT_SIZE: Final = 1_460
"""Longer writes may arrive in two pieces, cut anywhere."""
MAX_READ: Final = 65_536

Endpoint = tuple[str, int]


class SimTransport(asyncio.Transport):
    """`connection` is the same number at both ends; `pipe` leads to the peer, `inbound` comes from it."""

    __slots__ = (
        "_buffered_protocol",
        "_closing",
        "_context",
        "_eof_sent",
        "_high",
        "_local",
        "_loop",
        "_low",
        "_network",
        "_protocol",
        "_read_scheduled",
        "_reading_paused",
        "_remote",
        "_started",
        "_unread",
        "closed",
        "connection",
        "flushing",
        "host",
        "inbound",
        "pipe",
        "process",
        "writing_paused",
    )

    pipe: Pipe
    inbound: Pipe

    def __init__(
        self, network: Network, process: Process, connection: int, local: Endpoint, remote: Endpoint
    ) -> None:
        super().__init__()
        self._network = network
        self._loop = network.loop
        self.process = process
        self.host = process.host
        self.connection = connection
        self._local = local
        self._remote = remote
        self._protocol: Any = None
        self._buffered_protocol = False
        self._context = process.context
        self._unread: deque[bytes | Mark] = deque()
        self._started = False
        self._reading_paused = False
        self._read_scheduled = False
        self._closing = False
        self._eof_sent = False
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self.writing_paused = False
        self.flushing = False
        self.closed = False
        """The program has no part in it any more; the kernel answers."""
        process.endpoints[self] = None

    def start(self, protocol: Any) -> None:
        """Connects the protocol; called in the process's own callback."""
        self.set_protocol(protocol)
        self._context = copy_context()
        protocol.connection_made(self)
        self._started = True
        if self._unread:
            self._schedule_read()

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof_sent and not self._closing:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or self.process.state == DEAD:
            return
        size = len(data)
        if not size:
            return
        if type(data) is not bytes:
            data = bytes(data)
            size = len(data)
        pipe = self.pipe
        pipe.outstanding += size
        if size <= SEGMENT_SIZE:
            pipe.send(data)
        else:
            self._send_long(data)
        if pipe.outstanding > WINDOW + self._high and not self.writing_paused:
            self.writing_paused = True
            self._protocol.pause_writing()

    def _send_long(self, data: bytes) -> None:
        draw = self._network.choices.uniform(SEGMENT)
        if draw < 0.25:
            cut = 1 + int(4 * draw * (len(data) - 1))
            pieces = [data[:cut], data[cut:]]
        else:
            pieces = [data]
        for piece in pieces:
            for start in range(0, len(piece), MAX_READ):
                self.pipe.send(piece[start : start + MAX_READ])

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._closing or self._eof_sent or self.process.state == DEAD:
            return
        self._eof_sent = True
        self.pipe.send(FIN)

    def get_write_buffer_size(self) -> int:
        return max(0, self.pipe.outstanding - WINDOW)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def drained(self) -> None:
        """The peer read; called by the pipe while anybody waits for it."""
        size = self.get_write_buffer_size()
        if self.writing_paused and size <= self._low:
            self.writing_paused = False
            if not self.closed:
                self._soon(self._protocol.resume_writing)
        if self.flushing and size == 0:
            self.flushing = False
            self._lose(None)

    # reading

    def is_reading(self) -> bool:
        return not self._reading_paused and not self._closing

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused and not self._closing:
            self._reading_paused = False
            if self._unread:
                self._schedule_read()

    @property
    def accepts_data(self) -> bool:
        return not self._closing

    def receive(self, segment: bytes | Mark) -> None:
        """A segment reached this host's kernel."""
        if segment is RST:
            self.kernel_reset()
        elif self._closing:
            if isinstance(segment, bytes):
                self.inbound.outstanding -= len(segment)
                # Nobody is there to read it: that is what RST says.
                self.pipe.reset()
        elif self.process.state != RUNNING or self._reading_paused or not self._started or self._unread:
            self._unread.append(segment)
            if self._started and not self._reading_paused:
                self._schedule_read()
        else:
            self._feed(segment)

    def _schedule_read(self) -> None:
        if not self._read_scheduled:
            self._read_scheduled = True
            self._loop.release([Handle(self._read_unread, (), None, self.process)])

    def _read_unread(self) -> None:
        self._read_scheduled = False
        while self._unread and not (self._reading_paused or self._closing or self.process.state):
            self._feed(self._unread.popleft())

    def _feed(self, segment: bytes | Mark) -> None:
        loop = self._loop
        loop.process = self.process
        try:
            if isinstance(segment, bytes):
                self.inbound.read(len(segment))
                if self._buffered_protocol:
                    self._context.run(self._fill_buffer, segment)
                else:
                    self._context.run(self._protocol.data_received, segment)
            elif not self._context.run(self._protocol.eof_received):
                self.close()
        except (KeyboardInterrupt, SystemExit):
            raise
        except ProcessKilled:
            return
        except BaseException as error:
            loop.call_exception_handler(
                {
                    "message": "Fatal error: protocol callback failed.",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._force_close(error)

    def _fill_buffer(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            buffer = memoryview(self._protocol.get_buffer(len(left)))
            count = min(len(buffer), len(left))
            if not count:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:count] = left[:count]
            self._protocol.buffer_updated(count)
            left = left[count:]

    # closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What was written is still delivered, then FIN; unread input makes it a reset, as in Linux."""
        if self._closing or self.process.state == DEAD:
            return
        self._closing = True
        if self._discard_unread():
            self.pipe.reset()
        elif not self._eof_sent:
            self.pipe.send(FIN)
        if self.get_write_buffer_size() > 0:
            self.flushing = True
        else:
            self._lose(None)

    def abort(self) -> None:
        """Sends RST; what was not delivered yet is lost where the link is silent."""
        if self.process.state != DEAD:
            self._force_close(None)

    def _force_close(self, error: BaseException | None) -> None:
        if self.closed:
            return
        self._closing = True
        self._discard_unread()
        self.pipe.reset()
        self._lose(error)

    def _lose(self, error: BaseException | None) -> None:
        self.closed = True
        self.flushing = self.writing_paused = False
        self.process.endpoints.pop(self, None)
        self._soon(self._connection_lost, error)
        self._network.forget_if_over(self)

    def _connection_lost(self, error: BaseException | None) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def _discard_unread(self) -> bool:
        unread = any(isinstance(segment, bytes) for segment in self._unread)
        for segment in self._unread:
            if isinstance(segment, bytes):
                self.inbound.outstanding -= len(segment)
        self._unread.clear()
        return unread

    def _soon(self, callback: Any, *args: Any) -> None:
        self._loop.call_soon(callback, *args, context=self._context)

    def let_go_of_peer(self) -> None:
        """The connection is over. What a dead program leaves behind is kept to the end of the run, and
        must not keep the other program's end of every connection it ever had."""
        self.inbound = self.pipe
        self.pipe.receiver = self

    # what the kernel does

    def kernel_reset(self) -> None:
        """An RST arrived, or the link rejects what this end sends."""
        self._kernel_break(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def kernel_timeout(self) -> None:
        """Nothing was acknowledged for the TCP user timeout."""
        self._kernel_break(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))

    def _kernel_break(self, error: OSError) -> None:
        self.pipe.drop()
        self._closing = True
        self._discard_unread()
        if self.closed:
            self._network.forget_if_over(self)
        else:
            self._lose(error)

    def process_died(self, *, power_lost: bool) -> None:
        """A killed program's kernel still delivers what it wrote and closes for it: with FIN, or with
        RST where input was left unread (here also drawn). Without power there is nobody to say anything."""
        self.process.graveyard.append(self._protocol)
        unread = self._discard_unread()
        self.closed = self._closing = True
        self.flushing = self.writing_paused = False
        if power_lost:
            if self.pipe.stalled:
                self.pipe.drop()
        elif unread or self._network.choices.uniform(CLOSE_OF_KILLED) < 0.5:
            self.pipe.reset()
        elif not self._eof_sent:
            self.pipe.send(FIN)
        self._network.forget_if_over(self)

    # asyncio's bookkeeping

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        self._buffered_protocol = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> Any:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        match name:
            case "peername":
                return self._remote
            case "sockname":
                return self._local
            case "socket":
                return SimSocket(self._local, self._remote)
        return default

    def __repr__(self) -> str:
        state = "closed" if self.closed else "closing" if self._closing else "open"
        return f"<connection {self.connection} {self._local} -> {self._remote} {state}>"


class SimSocket:
    """What `get_extra_info("socket")` shows: addresses, and options that are taken and change nothing."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, local: Endpoint, remote: Endpoint | None = None) -> None:
        self._local = local
        self._remote = remote

    def getsockname(self) -> Endpoint:
        return self._local

    def getpeername(self) -> Endpoint:
        if self._remote is None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return self._remote

    def setsockopt(self, *args: Any) -> None:
        return None

    def getsockopt(self, *args: Any) -> int:
        return 0

    def fileno(self) -> int:
        return -1
