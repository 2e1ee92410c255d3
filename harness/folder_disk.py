"""`harness.node.Disk` on a real folder, with the faults that a harness can ask of it."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from pathlib import Path


class FolderDisk:
    """`fsync` covers the file and the folders that name it. `full` and the delays of an fsync are faults."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, int] = {}
        self._dirty: dict[str, None] = {}
        self.full = False
        self.latency_s = 0.0
        self.jitter_s = 0.0
        root.mkdir(parents=True, exist_ok=True)

    def list(self, prefix: str = "") -> list[str]:
        files = (p.relative_to(self._root).as_posix() for p in self._root.rglob("*") if p.is_file())
        return sorted(name for name in files if name.startswith(prefix))

    def exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def size(self, name: str) -> int:
        return self._path(name).stat().st_size

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        with self._path(name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def descriptor(self, name: str) -> int:
        """An open file to read from; whoever asked closes it."""
        return os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)

    def append(self, name: str, data: bytes) -> int:
        self._room(name)
        self._dirty[name] = None
        file = self._handle(name)
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        return os.fstat(file).st_size

    def write(self, name: str, data: bytes) -> None:
        self._room(name)
        self._dirty[name] = None
        self._forget(name)
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def truncate(self, name: str, size: int) -> None:
        os.truncate(self._path(name), size)

    def rename(self, source: str, target: str) -> None:
        self._forget(source)
        self._forget(target)
        self._path(target).parent.mkdir(parents=True, exist_ok=True)
        self._path(source).replace(self._path(target))

    def remove(self, name: str) -> None:
        self._forget(name)
        self._path(name).unlink()

    async def fsync(self, name: str) -> None:
        """In a thread: the event loop of a real node must not stand still while the disk writes."""
        if not self.exists(name):
            raise FileNotFoundError(name)
        if name in self._dirty:
            self._room(name)
        if self.latency_s or self.jitter_s:
            await asyncio.sleep(self.latency_s + self.jitter_s * random.random())
        self._dirty.pop(name, None)
        # A handle of its own, because the cached one may be closed by a rename meanwhile.
        file = os.dup(self._handle(name))
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._sync, file, self._path(name).parent)
        finally:
            os.close(file)

    def _sync(self, file: int, folder: Path) -> None:
        os.fsync(file)
        while True:
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            if folder == self._root:
                return
            folder = folder.parent

    def _room(self, name: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    def _path(self, name: str) -> Path:
        return self._root / name

    def _handle(self, name: str) -> int:
        if name not in self._open:
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open[name] = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        return self._open[name]

    def _forget(self, name: str) -> None:
        handle = self._open.pop(name, None)
        if handle is not None:
            os.close(handle)
