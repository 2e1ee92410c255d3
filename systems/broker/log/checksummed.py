"""Small files that are believed only as a whole: a CRC in front of msgpack, replaced by renaming."""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import msgspec

from harness.node import Disk

T = TypeVar("T")


def write_checksummed(disk: Disk, name: str, value: Any) -> None:
    body = msgspec.msgpack.encode(value)
    disk.write(name + ".new", zlib.crc32(body).to_bytes(4, "big") + body)
    disk.rename(name + ".new", name)


def read_checksummed(disk: Disk, name: str, type_: type[T]) -> T | None:
    """None where there is none, or where the power took its content."""
    if not disk.exists(name):
        return None
    data = disk.read(name)
    if zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
        return None
    return msgspec.msgpack.decode(data[4:], type=type_)
