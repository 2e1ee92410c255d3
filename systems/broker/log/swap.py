"""A cleaned segment takes the place of those it was made of, whatever crash comes in between.

`.cleaned` is being written and worth nothing yet. `.swap` is whole and durable: once a file has that name the ones
it replaces may go. Opening a log finishes what was begun.
"""

from __future__ import annotations

from typing import Final

from harness.node import Disk
from systems.broker.log.batch import CorruptBatch, split

CLEANED: Final = ".cleaned"
SWAP: Final = ".swap"


def finish_swaps(disk: Disk, folder: str) -> None:
    """Drops what was not complete, puts in its place what was."""
    for name in disk.list(folder + "/"):
        if name.endswith(CLEANED):
            disk.remove(name)
        elif name.endswith(SWAP):
            _finish(disk, folder, name)


def abandon_swaps(disk: Disk, folder: str) -> None:
    """The log was cut meanwhile: what was cleaned may hold what is no longer in it."""
    for name in disk.list(folder + "/"):
        if name.endswith((CLEANED, SWAP)):
            disk.remove(name)


def _finish(disk: Disk, folder: str, name: str) -> None:
    final = name.removesuffix(SWAP)
    base = _base_offset(final)
    try:
        end = split(disk.read(name))[-1][0].last_offset + 1
    except (CorruptBatch, IndexError):
        # The name came to the disk before its content did; the segments it replaces are all there.
        disk.remove(name)
        return
    for other in disk.list(folder + "/"):
        if other.endswith(".log") and base <= _base_offset(other) < end:
            disk.remove(other)
    disk.rename(name, final)


def _base_offset(name: str) -> int:
    return int(name.rsplit("/", 1)[1].removesuffix(".log"))
