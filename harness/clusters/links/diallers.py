"""Who dialled: the node whose process holds the other end of a connection on this machine.

Programs that we did not write tell each other addresses, so that all of them reach a node by one and the same, and one
proxy has to serve many links. Which one a connection belongs to is read from the kernel (`/proc`, Linux).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.clusters.process_tree import children

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LOCAL, REMOTE, INODE = 1, 2, 9
"""Columns of such a table."""


def dialler(pids: Mapping[str, int], near_port: int, far_port: int) -> str | None:
    """The one of the nodes (by the first process of each) that has a connection from `near_port` to `far_port`; None
    where it is none of theirs, or nobody can say."""
    inode = _inode(near_port, far_port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for name, pid in pids.items():
        if any(_holds(each, wanted) for each in _tree(pid)):
            return name
    return None


def _inode(near_port: int, far_port: int) -> str | None:
    near, far = f":{near_port:04X}", f":{far_port:04X}"
    for table in TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[LOCAL].endswith(near) and columns[REMOTE].endswith(far):
                return columns[INODE]
    return None


def _tree(pid: int) -> list[int]:
    return [pid, *(below for child in children(pid) for below in _tree(child))]


def _holds(pid: int, wanted: str) -> bool:
    try:
        files = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for file in files:
        try:
            if str(file.readlink()) == wanted:
                return True
        except OSError:
            continue
    return False
