"""Wall clocks: one a host, skewed by the clock nemesis. They never move `loop.time()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

EPOCH_NS: Final = 1_735_689_600_000_000_000
"""The wall-clock time at which every simulation begins: 2025-01-01T00:00:00Z."""


class SimWallClock:
    """True time plus an offset, running at a rate since the last adjustment.

    Setting it twice never compounds: each `skew` starts again from the true time.
    """

    __slots__ = ("_now_ns", "_offset_ns", "_rate", "_since_ns")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._offset_ns = 0
        self._rate = 1.0
        self._since_ns = 0

    def time_ns(self) -> int:
        now = self._now_ns()
        if self._rate == 1.0:
            return EPOCH_NS + now + self._offset_ns
        elapsed = now - self._since_ns
        return EPOCH_NS + self._since_ns + self._offset_ns + int(elapsed * self._rate)

    def skew(self, offset_ns: int, rate: float) -> None:
        self._since_ns = self._now_ns()
        self._offset_ns = offset_ns
        self._rate = rate

    @property
    def error_ns(self) -> int:
        """How far it is from the truth now."""
        return self.time_ns() - EPOCH_NS - self._now_ns()
