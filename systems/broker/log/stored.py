"""Records that stay in their file until they are sent from there, where a backend has real files.

Read into memory first, a megabyte is copied four times before it is on its way.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeGuard

from harness.node import Disk


class FileDisk(Disk, Protocol):
    """A disk whose files are the operating system's."""

    def descriptor(self, name: str) -> int:
        """An open file to read from; whoever asked closes it. Raises FileNotFoundError."""
        ...


def has_files(disk: Disk) -> TypeGuard[FileDisk]:
    return getattr(disk, "descriptor", None) is not None


class StoredRecords:
    """Whole batches in a file, opened only when they are sent. Valid until the event loop goes on: after that the
    file may have another name."""

    __slots__ = ("_disk", "_size", "name", "position")

    def __init__(self, disk: FileDisk, name: str, position: int, size: int) -> None:
        self._disk = disk
        self._size = size
        self.name = name
        self.position = position

    def __len__(self) -> int:
        return self._size

    def open(self) -> int:
        """A descriptor, which the caller closes: from now on it is this file, even if it is renamed or removed."""
        return self._disk.descriptor(self.name)

    def read(self) -> bytes:
        return self._disk.read(self.name, self.position, self._size)


Records: TypeAlias = bytes | StoredRecords
