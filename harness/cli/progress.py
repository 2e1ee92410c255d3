"""The live line: simulated time, operations, active faults, anomalies so far. Only on a terminal, on standard error.

Written by hand instead of with a progress library: those draw from a thread, and a simulation has none.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TextIO

from harness.cli.watch import Watcher
from harness.runner import Live

REDRAW_S = 0.1
_CLEAR = "\r\x1b[K"


class Progress:
    """`observe` redraws the line at most ten times a second of real time."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = monotonic) -> None:
        # The clock is taken at import: inside a simulation `time.monotonic` tells simulated time.
        self._stream = stream or sys.stderr
        self._clock = clock
        self._next_s = 0.0
        self._watcher: Watcher | None = None
        self.on = self._stream.isatty()

    def begun(self, folder: Path) -> None:
        if self.on:
            self._watcher = Watcher(folder)

    def observe(self, live: Live) -> None:
        if self.on and self._clock() >= self._next_s:
            self._next_s = self._clock() + REDRAW_S
            self.show(describe(live, 0 if self._watcher is None else self._watcher.anomalies()))

    def show(self, text: str) -> None:
        if self.on:
            width = shutil.get_terminal_size().columns
            self._stream.write(_CLEAR + text[: width - 1])
            self._stream.flush()

    def end(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        self.clear()

    def clear(self) -> None:
        if self.on:
            self._stream.write(_CLEAR)
            self._stream.flush()


def describe(live: Live, anomalies: int) -> str:
    ops = "  ".join(f"{count} {outcome}" for outcome, count in live.ops.items())
    faults = f"  ⚡ {', '.join(live.faults)}" if live.faults else ""
    found = f"  ✗ {anomalies} anomalies" if anomalies else ""
    return f"{live.phase:<7} {live.now_ns / 1e9:6.1f} s  {ops}{found}{faults}"
