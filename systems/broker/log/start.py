"""Where a log begins, on disk: retention and DeleteRecords move it on, and a restart must not go back behind
records whose segments are gone."""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

from harness.node import Disk

NO_EPOCH: Final = -1
_START: Final = struct.Struct(">qi")
_CRC: Final = struct.Struct(">I")


class Start(NamedTuple):
    """The first offset, and the leader epoch that wrote the one before."""

    offset: int
    epoch: int


class StartFile:
    """One start with its CRC. It is on disk before the segments below it are removed."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self.name = f"{folder}/log-start"
        self._disk = disk

    def read(self) -> Start:
        """Offset 0 where there is none, or where it was lost with the power."""
        if self._disk.exists(self.name):
            data = self._disk.read(self.name)
            body, crc = data[: _START.size], data[_START.size :]
            if crc == _CRC.pack(zlib.crc32(body)) and len(body) == _START.size:
                return Start._make(_START.unpack(body))
        return Start(0, NO_EPOCH)

    def write(self, start: Start) -> None:
        body = _START.pack(*start)
        self._disk.write(self.name + ".new", body + _CRC.pack(zlib.crc32(body)))
        self._disk.rename(self.name + ".new", self.name)

    async def sync(self) -> None:
        await self._disk.fsync(self.name)
