"""A directed link between two hosts: how long it takes, what it loses, and whether it is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.cluster import How
from harness.sim.choices import JITTER, LATENCY, LOSS, Choices
from harness.sim.host import Host
from harness.sim.settings import Physics

LOOPBACK_MIN_NS: Final = 10_000
LOOPBACK_MAX_NS: Final = 40_000
TAIL_FROM: Final = 0.98
RETRANSMISSION_NS: Final = 200_000_000
"""How long a sender waits for an acknowledgement before it sends a packet again; twice as long each time."""
MOST_LOSSES: Final = 8
"""A stream that lost one packet so often in a row is as good as cut."""
PACKET_OVERHEAD_BYTES: Final = 40


class Link:
    """The way from one host to another. `cut` says how it is cut (`cuts` counts them); the way
    back is another link."""

    __slots__ = (
        "_floor_ns",
        "_free_ns",
        "_ns_per_byte",
        "_spread_ns",
        "_tail",
        "_uniform",
        "cut",
        "cuts",
        "datagram_loss",
        "duplicate",
        "extra_ns",
        "flaky",
        "jitter_ns",
        "key",
        "loss",
        "now_ns",
        "reorder",
    )

    def __init__(
        self, source: Host, target: Host, choices: Choices, physics: Physics, now_ns: Callable[[], int]
    ) -> None:
        self.key = (source.name, target.name)
        self.now_ns = now_ns
        self.flaky = False
        """Whether packets of streams are lost or wait for the line."""
        self.loss = 0.0
        self.datagram_loss = 0.0
        """The loss of all packets included."""
        self.duplicate = 0.0
        self.reorder = 0.0
        self._ns_per_byte = 0.0
        self._free_ns = 0
        self.cut: How | None = None
        self.cuts = 0
        self.extra_ns = 0
        self.jitter_ns = 0
        self._uniform = choices.uniform
        if source is target:
            self._floor_ns, self._spread_ns = LOOPBACK_MIN_NS, LOOPBACK_MAX_NS - LOOPBACK_MIN_NS
            self._tail = 0.0
        else:
            self._floor_ns = physics.latency_min_ns
            self._spread_ns = physics.latency_max_ns - physics.latency_min_ns
            self._tail = physics.latency_tail_ns / (1 - TAIL_FROM) ** 2

    def latency_ns(self) -> int:
        """Uniform between the two bounds; the slowest 2 % have a quadratic tail on top. One draw."""
        draw = self._uniform(LATENCY)
        ns = self._floor_ns + int(self._spread_ns * draw)
        if draw > TAIL_FROM:
            ns += int(self._tail * (draw - TAIL_FROM) ** 2)
        if self.extra_ns or self.jitter_ns:
            ns += self.extra_ns + int(self.jitter_ns * self._uniform(JITTER))
        return ns

    def degrade(
        self, *, loss: float, bandwidth_kbps: float, datagram_loss: float, duplicate: float, reorder: float
    ) -> None:
        """From now on; zeroes are a sound link."""
        self.loss = loss
        self.datagram_loss = loss + datagram_loss - loss * datagram_loss
        self.duplicate = duplicate
        self.reorder = reorder
        self._ns_per_byte = 8e6 / bandwidth_kbps if bandwidth_kbps else 0.0
        self.flaky = bool(loss or bandwidth_kbps)

    def stream_delay_ns(self, size: int) -> int:
        """What loss and bandwidth add to a packet of a stream: it waits for the line, and is sent again until it
        gets through."""
        delay = self.transmission_ns(size)
        if self.loss:
            again_ns = RETRANSMISSION_NS
            for _ in range(MOST_LOSSES):
                if self._uniform(LOSS) >= self.loss:
                    break
                delay += again_ns
                again_ns *= 2
        return delay

    def transmission_ns(self, size: int) -> int:
        """How long until the last of `size` bytes is on the line, behind what was sent before."""
        if not self._ns_per_byte:
            return 0
        now = self.now_ns()
        self._free_ns = max(self._free_ns, now) + int((size + PACKET_OVERHEAD_BYTES) * self._ns_per_byte)
        return self._free_ns - now
