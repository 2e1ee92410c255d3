"""The name of a run on everything of it that outlives a function call: processes, containers, networks, rules.

It names the harness process that owns the run, so that whoever finds something later knows whether it is in use
or left over: `<machine's boot>.<pid>.<start of that process>.<random>`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

VARIABLE = "CHAOS_RUN"
"""In the environment of every process that a run starts."""
LABEL = "chaos.run"
"""On every container, network, volume of a run."""


def new_run_id() -> str:
    """Owned by this process."""
    pid = os.getpid()
    return f"{_boot()}.{pid}.{_started(pid)}.{secrets.token_hex(4)}"


def token(run: str) -> str:
    """The random part: short enough for names."""
    return run.rpartition(".")[2]


def in_use(run: str) -> bool:
    """Whether the process that owns the run is alive. Of a label that is none: true, since it is not ours."""
    parts = run.split(".")
    if len(parts) != 4 or not parts[1].isdigit():
        return True
    boot, pid, started, _ = parts
    return boot == _boot() and _started(int(pid)) == started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "unknown"


def _started(pid: int) -> str:
    """In ticks since the boot, so that a later process of the same number is another; 0 where there is no /proc
    and the process lives, `gone` where it does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "gone" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return "gone"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "0"
