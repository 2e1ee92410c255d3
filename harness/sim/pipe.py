"""One direction of a connection: bytes in order, none lost, doubled or reordered.

    flowing ──(link cut, or the target machine is off)──► stalled ──(heal, retransmission)──► flowing
       │                                                     │
       └──(reset)──► the rest is dropped                     └──(TCP user timeout)──► the sender's end breaks

The kernels of the two hosts own a pipe: it goes on after the process that wrote into it has died.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from harness.sim.choices import RETRANSMIT
from harness.sim.handles import Handle

if TYPE_CHECKING:
    from harness.sim.link import Link
    from harness.sim.network import Network
    from harness.sim.transport import SimTransport


class Mark:
    """What may stand in a stream besides bytes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


FIN: Final = Mark("FIN")
RST: Final = Mark("RST")
_RTO_MIN_NS: Final = 200_000_000
_READ_SIZE: Final = 65_536


class Pipe:
    """From `sender` to `receiver`. `outstanding` counts bytes that the receiving program has not read."""

    __slots__ = (
        "_arrival",
        "_last_ns",
        "_late_bytes",
        "_loop",
        "_network",
        "_queue",
        "_resuming",
        "_send_lines",
        "_stalled_since_ns",
        "_unacked",
        "link",
        "outstanding",
        "receiver",
        "sender",
        "stalled",
    )

    def __init__(self, network: Network, link: Link, sender: SimTransport, receiver: SimTransport) -> None:
        self._network = network
        self._loop = network.loop
        self.link = link
        self.sender = sender
        self.receiver = receiver
        self.outstanding = 0
        self.stalled = False
        self._queue: deque[bytes | Mark] = deque()
        self._send_lines: deque[int] | None = None
        """Lines of the trace, where one is written: of what is under way."""
        self._last_ns = 0
        self._late_bytes = 0
        self._resuming = False
        self._stalled_since_ns = 0
        self._unacked = False
        self._arrival = self._new_arrival()

    @property
    def empty(self) -> bool:
        return not self._queue

    def send(self, segment: bytes | Mark) -> None:
        loop = self._loop
        self._queue.append(segment)
        if self._network.tracer is not None:
            self._trace_send(segment)
        if self.stalled:
            return
        link = self.link
        if link.cut is not None or not self.receiver.host.powered:
            self._stall()
            return
        when = loop.now_ns + link.latency_ns()
        if link.flaky:
            when += link.stream_delay_ns(0 if isinstance(segment, Mark) else len(segment))
        if when <= self._last_ns:
            when = self._last_ns + 1
        self._last_ns = when
        loop.schedule(when, self._arrival)

    def reset(self) -> None:
        """Sends RST. Over a silent link it is lost, with everything that was not yet delivered; the
        other end then stays half-open."""
        if self.stalled or self.link.cut is not None or not self.receiver.host.powered:
            self.drop()
            if self.link.cut == "hold":
                self.send(RST)
            return
        self.send(RST)

    def drop(self) -> None:
        """What is under way and what waits is gone."""
        self.outstanding -= sum(len(s) for s in self._queue if isinstance(s, bytes))
        self._queue.clear()
        self._send_lines = None
        self._arrival.cancel()
        self._arrival = self._new_arrival()
        self.stalled = False
        self._resuming = False

    def link_cut(self) -> None:
        """The link is now cut. Silence shows when the next segment would arrive; a rejecting link
        resets the sender at once."""
        if self.link.cut == "reject":
            self.drop()
            self.sender.kernel_reset()
        elif self.stalled:
            self._resuming = False
            self._watch_timeout()

    def link_open(self, *, prompt: bool) -> None:
        """The link carries again. TCP notices at its next retransmission, up to as long after the heal
        as the stall lasted; `prompt` where the bytes were only held back."""
        if not self.stalled or self._resuming:
            return
        now = self._loop.now_ns
        delay = self.link.latency_ns()
        if not prompt:
            backoff = max(_RTO_MIN_NS, (now - self._stalled_since_ns) // 2)
            backoff = min(backoff, self._network.physics.retransmit_max_ns)
            delay += int(backoff * self._network.choices.uniform(RETRANSMIT))
        self._late_bytes = sum(len(s) for s in self._queue if isinstance(s, bytes))
        self._resuming = True
        self._loop.kernel_timer(now + delay, self._retransmit, self._stalled_since_ns)

    def read(self, size: int) -> None:
        """The receiving program took `size` bytes: the sender's window opens."""
        self.outstanding -= size
        if self.sender.writing_paused or self.sender.flushing:
            self.sender.drained()

    # what happens at the far end

    def _arrive(self) -> None:
        if self.link.cut is not None or not self.receiver.host.powered:
            self._stall()
            return
        if self.receiver.pipe.link.cut == "drop" and not self._unacked:
            self._await_acknowledgement()
        self._deliver(self._queue.popleft(), self._send_lines.popleft() if self._send_lines else 0)

    def _deliver(self, segment: bytes | Mark, send_line: int) -> None:
        size = len(segment) if type(segment) is bytes else 0
        network = self._network
        self._loop.trace.words.append(self.receiver.connection << 32 | size)
        if network.tracer is not None:
            source, target = self.link.key
            network.tracer.delivered(
                self._loop.now_ns, source, target, self.receiver.connection, size, send_line
            )
        self.receiver.receive(segment)
        if self.sender.closed and not self._queue:
            network.forget_if_over(self.sender)

    def _stall(self) -> None:
        self.stalled = True
        self._resuming = False
        self._stalled_since_ns = self._loop.now_ns
        # What is already scheduled to arrive waits with the rest.
        self._arrival.cancel()
        self._arrival = self._new_arrival()
        self._watch_timeout()

    def _watch_timeout(self) -> None:
        if self.link.cut != "hold":
            since = self._stalled_since_ns
            when = since + self._network.physics.user_timeout_ns
            self._loop.kernel_timer(max(when, self._loop.now_ns), self._timed_out, since)

    def _timed_out(self, since_ns: int) -> None:
        if (
            not self.stalled
            or self._stalled_since_ns != since_ns
            or self._resuming
            or self.link.cut == "hold"
        ):
            return
        self.drop()
        self.sender.kernel_timeout()
        self._network.forget_if_over(self.sender)

    def _retransmit(self, since_ns: int) -> None:
        if not self.stalled or not self._resuming or self._stalled_since_ns != since_ns:
            return
        if self.link.cut is not None or not self.receiver.host.powered:
            self._resuming = False
            self._watch_timeout()
            return
        self.stalled = self._resuming = False
        late, since = self._late_bytes, self._stalled_since_ns
        queue, self._queue = self._queue, deque()
        # Retransmitted segments arrive as one, which answers to the last of them.
        send_line = self._send_lines[-1] if self._send_lines else 0
        self._send_lines = None
        if late and self.receiver.accepts_data:
            self._network.delivered_late(self, late, self._loop.now_ns - since)
        for segment in _merged(queue):
            self._deliver(segment, send_line)

    def _new_arrival(self) -> Handle:
        return Handle(self._arrive, (), None, self._loop.kernel)

    def _await_acknowledgement(self) -> None:
        """The data gets through, but nothing comes back: the sender cannot tell that from silence."""
        back = self.receiver.pipe.link
        self._unacked = True
        when = self._loop.now_ns + self._network.physics.user_timeout_ns
        self._loop.kernel_timer(when, self._unacknowledged, back, back.cuts)

    def _unacknowledged(self, back: Link, cut: int) -> None:
        self._unacked = False
        if back.cut == "drop" and back.cuts == cut:
            self.drop()
            self.sender.kernel_timeout()
            self._network.forget_if_over(self.sender)

    def _trace_send(self, segment: bytes | Mark) -> None:
        tracer = self._network.tracer
        assert tracer is not None
        source, target = self.link.key
        what = segment.name if isinstance(segment, Mark) else "data"
        size = len(segment) if isinstance(segment, bytes) else 0
        if self._send_lines is None:
            self._send_lines = deque()
        self._send_lines.append(
            tracer.sent(self._loop.now_ns, source, target, self.receiver.connection, what, size)
        )


def _merged(queue: deque[bytes | Mark]) -> list[bytes | Mark]:
    """Consecutive bytes come as few large reads, as from a kernel's receive buffer."""
    merged: list[bytes | Mark] = []
    run = bytearray()
    for segment in queue:
        if isinstance(segment, bytes):
            run += segment
            continue
        merged += [bytes(run[i : i + _READ_SIZE]) for i in range(0, len(run), _READ_SIZE)]
        run.clear()
        merged.append(segment)
    merged += [bytes(run[i : i + _READ_SIZE]) for i in range(0, len(run), _READ_SIZE)]
    return merged
