"""The log directory: a node that can no longer write to it stops at once, as Kafka's brokers do.

One whose disk is full or broken is worse than one that is gone: it stays leader of what it cannot serve, or answers
with what it could not keep. It halts without a word, so that it is fenced and others serve; Kafka does so when its
last log directory fails (`LogManager.handleLogDirFailure`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from harness.node import Disk, NodeEnvironment


class LogDir:
    """Implements `harness.node.Disk` on another one. The first error of a write or an fsync is reported before it
    is raised; that a file is not there is no failure of the disk."""

    def __init__(self, disk: Disk, on_failure: Callable[[OSError], None]) -> None:
        self._disk = disk
        self._on_failure = on_failure
        # What cannot fail is asked directly: reads are on the hot path.
        self.list, self.exists, self.size, self.read = disk.list, disk.exists, disk.size, disk.read
        self.descriptor: Callable[[str], int] | None = getattr(disk, "descriptor", None)
        """Where the disk has real files."""

    def append(self, name: str, data: bytes) -> int:
        try:
            return self._disk.append(name, data)
        except OSError as error:
            raise self._failed(error) from None

    def write(self, name: str, data: bytes) -> None:
        try:
            self._disk.write(name, data)
        except OSError as error:
            raise self._failed(error) from None

    def truncate(self, name: str, size: int) -> None:
        try:
            self._disk.truncate(name, size)
        except OSError as error:
            raise self._failed(error) from None

    def rename(self, source: str, target: str) -> None:
        try:
            self._disk.rename(source, target)
        except OSError as error:
            raise self._failed(error) from None

    def remove(self, name: str) -> None:
        try:
            self._disk.remove(name)
        except OSError as error:
            raise self._failed(error) from None

    async def fsync(self, name: str) -> None:
        try:
            await self._disk.fsync(name)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> OSError:
        if not isinstance(error, FileNotFoundError):
            self._on_failure(error)
        return error


class _OnLogDir:
    def __init__(self, env: NodeEnvironment, disk: LogDir) -> None:
        self._env = env
        self.disk = disk
        # Asked for at every request.
        self.name, self.id, self.config, self.bugs = env.name, env.id, env.config, env.bugs
        self.emit, self.step, self.wall_clock = env.emit, env.step, env.wall_clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


def on_log_dir(env: NodeEnvironment, on_failure: Callable[[OSError], None]) -> NodeEnvironment:
    """The same environment, with its disk as a log directory."""
    return cast(NodeEnvironment, _OnLogDir(env, LogDir(env.disk, on_failure)))
