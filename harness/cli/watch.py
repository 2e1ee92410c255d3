"""Anomalies so far, for the live line: another process judges the history while it grows.

Not the process of the run itself: a checker that drew a random number or started a garbage collection there
would change the simulation, and a run on a terminal would not be the run in a pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

FIRST_S = 3.0
"""Shorter runs are over before anybody looks."""
SHARE = 0.1
"""Of one core, at most, for looking."""


class Watcher:
    """Started before the run; `anomalies` never waits."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli.watch", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._out, False)
        self._seen = 0

    def anomalies(self) -> int:
        """As of a few seconds ago."""
        with contextlib.suppress(BlockingIOError):
            counts = os.read(self._out, 4096).split()
            if counts:
                self._seen = int(counts[-1])
        return self._seen

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def watch(folder: Path) -> None:
    """Writes a count a line until standard input ends, as it does when the run's process is gone."""
    pause_s = FIRST_S
    while not select.select([sys.stdin], [], [], pause_s)[0]:
        started = time.monotonic()
        sys.stdout.write(f"{count(folder)}\n")
        sys.stdout.flush()
        pause_s = max(1.0, (time.monotonic() - started) / SHARE)


def count(folder: Path) -> int:
    """Violations in what is on disk; a history that ends in the middle proves fewer, never more."""
    from harness import registry, store
    from harness.checker import CheckContext
    from harness.judge import judge

    spec = store.read_spec(folder)
    context = CheckContext(
        system=spec.system, workload=spec.workload, config=spec.config, bugs=frozenset(spec.bugs)
    )
    checkers = registry.load("workloads", spec.workload).checkers
    return len(judge(store.read_run_history(folder), context, checkers, scheduled=None).anomalies)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
