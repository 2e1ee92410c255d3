"""A host's disk: a page cache over what is durable.

The death of a process loses nothing of it. A power loss loses the file contents that were not fsynced;
an fsync of any file also commits the names (creations, renames, removals) of all, as the journal of
ext4 does, so a file that was renamed but never fsynced comes back empty under its new name.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from harness.sim.choices import FSYNC, SLOW_DISK, TORN_WRITE, Choices

if TYPE_CHECKING:
    from harness.sim.loop import SimLoop
    from harness.sim.settings import Physics


class File:
    """An inode. The durable content is `before`, where that is set (an unsynced truncation or rewrite),
    else the first `synced` bytes of `data`."""

    __slots__ = ("_at_sync", "_syncing", "before", "data", "last_write", "rewrites", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0
        self.before: bytes | None = None
        self.last_write = 0
        """Where the last append began."""
        self.rewrites = 0
        self._syncing: dict[int, int] = {}
        self._at_sync: dict[int, bytes] = {}

    def append(self, data: bytes) -> int:
        self.last_write = len(self.data)
        self.data += data
        return len(self.data)

    def truncate(self, size: int) -> None:
        if size >= len(self.data):
            self.append(bytes(size - len(self.data)))
            return
        self._before_rewrite(size)
        del self.data[size:]

    def rewrite(self, data: bytes) -> None:
        self._before_rewrite(0)
        self.data[:] = data
        self.last_write = 0

    def _before_rewrite(self, kept: int) -> None:
        for ticket, size in self._syncing.items():
            self._at_sync.setdefault(ticket, bytes(self.data[:size]))
        if self.before is None and kept < self.synced:
            self.before = bytes(self.data[: self.synced])
        self.synced = min(self.synced, kept)
        self.last_write = min(self.last_write, kept)
        self.rewrites += 1

    def begin_sync(self, ticket: int) -> None:
        self._syncing[ticket] = len(self.data)

    def end_sync(self, ticket: int) -> None:
        """What the file held when the sync began is durable now."""
        size = self._syncing.pop(ticket)
        content = self._at_sync.pop(ticket, None)
        if content is None:
            self.before = None
            self.synced = max(self.synced, size)
        else:
            # It was rewritten meanwhile: the rewrite itself is not durable yet.
            self.before = content

    def durable(self) -> bytes:
        return self.before if self.before is not None else bytes(self.data[: self.synced])

    def lose_power(self, torn: float | None) -> None:
        """Back to what is durable. `torn` in [0, 1) lets so much of what was appended since survive."""
        unsynced = b"" if self.before is not None else bytes(self.data[self.synced :])
        kept = self.durable()
        if torn is not None:
            kept += unsynced[: int(torn * len(unsynced))]
        self.data = bytearray(kept)
        self.synced = len(kept)
        self.before = None
        self.last_write = 0
        self._syncing.clear()
        self._at_sync.clear()


class SimDisk:
    """Implements `harness.node.Disk` for one host (of whichever process lives on it)."""

    def __init__(self, choices: Choices, physics: Physics) -> None:
        self._choices = choices
        self._physics = physics
        self._loop: SimLoop | None = None
        self._files: dict[str, File] = {}
        self._durable_names: dict[str, File] = {}
        self._used = 0
        self._tickets = 0
        self._losses = 0
        self.capacity: int | None = None
        """Bytes; None is endless."""
        self.full = False
        self.extra_ns = 0
        self.jitter_ns = 0
        """Added to every fsync."""
        self.fsyncs = 0

    def attach(self, loop: SimLoop) -> None:
        self._loop = loop

    def list(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._files if name.startswith(prefix))

    def exists(self, name: str) -> bool:
        return name in self._files

    def size(self, name: str) -> int:
        return len(self._file(name).data)

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        data = self._file(name).data
        end = len(data) if length < 0 else offset + length
        return bytes(memoryview(data)[offset:end])

    def append(self, name: str, data: bytes) -> int:
        self._reserve(len(data))
        return self._made(name).append(data)

    def write(self, name: str, data: bytes) -> None:
        file = self._files.get(name)
        self._reserve(len(data) - (0 if file is None else len(file.data)))
        self._made(name).rewrite(data)

    def truncate(self, name: str, size: int) -> None:
        file = self._file(name)
        self._reserve(size - len(file.data))
        file.truncate(size)

    def rename(self, source: str, target: str) -> None:
        file = self._file(source)
        replaced = self._files.get(target)
        if replaced is file:
            return
        if replaced is not None:
            self._used -= len(replaced.data)
        del self._files[source]
        self._files[target] = file

    def remove(self, name: str) -> None:
        self._used -= len(self._file(name).data)
        del self._files[name]

    async def fsync(self, name: str) -> None:
        assert self._loop is not None
        file = self._file(name)
        if self.full and (file.before is not None or len(file.data) > file.synced):
            # Space is found when a page is written back, not when the program hands it over.
            raise OSError(errno.ENOSPC, "No space left on device")
        self._tickets = ticket = self._tickets + 1
        file.begin_sync(ticket)
        done = self._loop.create_future()
        # The kernel finishes it although the process may die meanwhile; a power loss takes it back.
        when_ns = self._loop.now_ns + self._fsync_ns()
        self._loop.kernel_timer(when_ns, self._synced, file, ticket, self._losses, done)
        await done

    def _synced(self, file: File, ticket: int, losses: int, done: asyncio.Future[None]) -> None:
        if losses != self._losses:
            return
        self.fsyncs += 1
        file.end_sync(ticket)
        self._durable_names = dict(self._files)
        if not done.done():
            done.set_result(None)

    def _fsync_ns(self) -> int:
        draw = self._choices.uniform(FSYNC)
        low, high = self._physics.fsync_min_ns, self._physics.fsync_max_ns
        ns = low + int((high - low) * draw)
        if draw > 0.98:
            ns += int(9 * high * (draw - 0.98) * 50)
        if self.extra_ns or self.jitter_ns:
            ns += self.extra_ns + int(self.jitter_ns * self._choices.uniform(SLOW_DISK))
        return ns

    def wipe(self) -> int:
        """A new, empty disk; returns how many bytes are gone."""
        self._losses += 1
        gone, self._used = self._used, 0
        self._files = {}
        self._durable_names = {}
        return gone

    def lose_power(self, *, torn: bool) -> int:
        """Drops what was not fsynced; returns how many bytes were lost.

        With `torn`, a part of each file's unsynced appends survives, drawn, and so usually ends within
        a write.
        """
        self._losses += 1
        before = self._used
        self._files = dict(self._durable_names)
        for _, file in sorted(self._files.items()):
            keep = None
            if torn and file.before is None and len(file.data) > file.synced:
                keep = self._choices.uniform(TORN_WRITE)
            file.lose_power(keep)
        self._used = sum(len(f.data) for f in self._files.values())
        return before - self._used

    def unsynced(self) -> int:
        """Bytes that a power loss would take now."""
        return sum(len(f.data) - f.synced for f in self._files.values())

    def _file(self, name: str) -> File:
        file = self._files.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return file

    def _made(self, name: str) -> File:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = File()
        return file

    def _reserve(self, size: int) -> None:
        if size > 0 and (self.full or (self.capacity is not None and self._used + size > self.capacity)):
            raise OSError(errno.ENOSPC, "No space left on device")
        self._used += size
