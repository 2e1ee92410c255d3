"""A rate over a sliding window, as Kafka's quotas measure it (`SampledStat` and `Rate` of its metrics)."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Measured(NamedTuple):
    """Units a second, over how many seconds."""

    rate: float
    window_s: float


class Rate:
    """Sums over `windows` consecutive windows of `window_s` each; the oldest goes when a new one begins."""

    def __init__(self, windows: int, window_s: float) -> None:
        self._windows = windows
        self._window_s = window_s
        self._sums: deque[list[float]] = deque()

    def record(self, amount: float, now: float) -> None:
        """A negative amount takes back what was recorded and did not happen."""
        if not self._sums or now - self._sums[-1][0] >= self._window_s:
            self._sums.append([now, 0.0])
        self._sums[-1][1] += amount

    def measure(self, now: float) -> Measured:
        self._forget(now)
        if not self._sums:
            return Measured(0.0, self._window_s)
        elapsed = now - self._sums[0][0]
        # A client that has just begun is measured as if it had been idle before, all windows but one: a burst
        # is no rate.
        missing = self._windows - 1 - int(elapsed / self._window_s)
        elapsed += max(missing, 0) * self._window_s
        return Measured(sum(amount for _, amount in self._sums) / elapsed, elapsed)

    def idle(self, now: float) -> bool:
        self._forget(now)
        return not self._sums

    def _forget(self, now: float) -> None:
        while self._sums and now - self._sums[0][0] >= self._windows * self._window_s:
            self._sums.popleft()


def throttle_s(measured: Measured, bound: float) -> float:
    """How long to stay silent so that the rate over the window comes down to the bound; 0 where it is not above."""
    if measured.rate <= bound:
        return 0.0
    return (measured.rate - bound) / bound * measured.window_s
