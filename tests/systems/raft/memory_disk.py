"""A disk in memory, for tests that need no simulator."""

from __future__ import annotations


class MemoryDisk:
    """A `harness.node.Disk`. Everything counts as synced."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def list(self, prefix: str = "") -> list[str]:
        return sorted(n for n in self.files if n.startswith(prefix))

    def exists(self, name: str) -> bool:
        return name in self.files

    def size(self, name: str) -> int:
        return len(self._content(name))

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        content = self._content(name)
        return content[offset:] if length < 0 else content[offset : offset + length]

    def append(self, name: str, data: bytes) -> int:
        self.files[name] = self.files.get(name, b"") + data
        return len(self.files[name])

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def truncate(self, name: str, size: int) -> None:
        self.files[name] = self._content(name)[:size]

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def remove(self, name: str) -> None:
        del self.files[name]

    async def fsync(self, name: str) -> None:
        self._content(name)

    def _content(self, name: str) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]
