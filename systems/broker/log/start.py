"""Where a log begins, on disk: retention and DeleteRecords move it on, and a restart must not go back behind
records whose segments are gone."""

from __future__ import annotations

import zlib

from harness.node import Disk

_OFFSET_BYTES = 8


class StartFile:
    """One offset with its CRC. It is on disk before the segments below it are removed."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self.name = f"{folder}/log-start"
        self._disk = disk

    def read(self) -> int:
        """0 where there is none, or where it was lost with the power."""
        if not self._disk.exists(self.name):
            return 0
        data = self._disk.read(self.name)
        offset, crc = data[:_OFFSET_BYTES], data[_OFFSET_BYTES:]
        if len(data) != _OFFSET_BYTES + 4 or zlib.crc32(offset).to_bytes(4, "big") != crc:
            return 0
        return int.from_bytes(offset, "big")

    def write(self, offset: int) -> None:
        data = offset.to_bytes(_OFFSET_BYTES, "big")
        self._disk.write(self.name + ".new", data + zlib.crc32(data).to_bytes(4, "big"))
        self._disk.rename(self.name + ".new", self.name)

    async def sync(self) -> None:
        await self._disk.fsync(self.name)
