"""Signals to a process and all below it: a program that we did not write may be many processes, in sessions of their
own. Where there is no /proc only the first is reached."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def signal_tree(pid: int, number: signal.Signals) -> None:
    """The parent first, so that it starts no others meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number if number is not signal.SIGKILL else signal.SIGSTOP)
    for child in children(pid):
        signal_tree(child, number)
    if number is signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kernel_state(pid: int) -> str | None:
    """`T` for stopped, `S` for sleeping, …; None where the system has no /proc, or no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
