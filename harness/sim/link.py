"""A directed link between two hosts: how long it takes, and whether it is cut."""

from __future__ import annotations

from typing import Final

from harness.cluster import How
from harness.sim.choices import JITTER, LATENCY, Choices
from harness.sim.host import Host
from harness.sim.settings import Physics

LOOPBACK_MIN_NS: Final = 10_000
LOOPBACK_MAX_NS: Final = 40_000
TAIL_FROM: Final = 0.98


class Link:
    """The way from one host to another. `cut` says how it is cut (`cuts` counts them); the way
    back is another link."""

    __slots__ = (
        "_floor_ns",
        "_spread_ns",
        "_tail",
        "_uniform",
        "cut",
        "cuts",
        "extra_ns",
        "jitter_ns",
        "key",
    )

    def __init__(self, source: Host, target: Host, choices: Choices, physics: Physics) -> None:
        self.key = (source.name, target.name)
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
