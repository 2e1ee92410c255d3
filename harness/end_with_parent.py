"""Processes that do not outlive whoever started them, however that ends."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Runs between fork and exec: the kernel kills the process when its parent is gone, even while it is stopped.
    Elsewhere than on Linux there is no such call, and the parent's own end of life has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
