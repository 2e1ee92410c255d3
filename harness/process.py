"""A node as a real process: its disk is a folder, its clock the machine's, its events lines of a file.

`python -m systems.broker --environment FILE` calls `run_node`, and everything else is in that file, which
the backend wrote. The node ends when its standard input does: it never outlives the harness.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UserError
from harness.node import Address, MessageDelays, NodeEvent, NodeProgram
from harness.topology import Topology


class Port(msgspec.Struct, frozen=True):
    """One further port of a node (`NodeInfo.ports`): as it binds it, as others know it, and as it reaches those of
    the other nodes."""

    listen: tuple[str, int]
    advertised: tuple[str, int]
    peers: dict[str, tuple[str, int]]


class NodeFile(msgspec.Struct, frozen=True, kw_only=True):
    """The environment of one process of a node, as JSON. `start_ns` is the run's beginning on the machine's
    monotonic clock, which all its processes share."""

    name: str
    topology: Topology
    config: dict[str, Any]
    bugs: tuple[str, ...]
    incarnation: int
    listen: tuple[str, int]
    advertised: tuple[str, int]
    peers: dict[str, tuple[str, int]]
    data: str
    events: str
    start_ns: int
    seed: int
    founder: bool = True
    ports: dict[str, Port] = {}


class FolderDisk:
    """`harness.node.Disk` on a real folder. `fsync` covers the file and the folders that name it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, int] = {}
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

    def append(self, name: str, data: bytes) -> int:
        file = self._handle(name)
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        return os.fstat(file).st_size

    def write(self, name: str, data: bytes) -> None:
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


class MachineClock:
    def time_ns(self) -> int:
        return time.time_ns()


class ProcessEnvironment:
    """`harness.node.NodeEnvironment` of a real process."""

    def __init__(self, file: NodeFile) -> None:
        info = file.topology.named(file.name)
        self.name = file.name
        self.id = info.id
        self.role = info.role
        self.topology = file.topology
        self.disk = FolderDisk(Path(file.data))
        self.wall_clock = MachineClock()
        self.random = random.Random(f"{file.seed}:{file.name}:{file.incarnation}")
        self.config: Mapping[str, Any] = file.config
        self.bugs = frozenset(file.bugs)
        self.incarnation = file.incarnation
        self.founder = file.founder
        self.delays = MessageDelays(self.random.random)
        self.listen = Address(*file.listen)
        self.advertised = Address(*file.advertised)
        self._peers = file.peers
        self._start_ns = file.start_ns
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._events = os.open(file.events, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def peer(self, name: str) -> Address:
        return Address(*self._peers[name])

    def emit(self, kind: str, /, **fields: Any) -> None:
        event = NodeEvent(time.monotonic_ns() - self._start_ns, self.name, kind, fields)
        os.write(self._events, self._encoder.encode(event) + b"\n")

    def step(self, name: str) -> None:
        """Real processes are not crashed at steps: there is nobody to ask in time."""


def run_node(program: NodeProgram) -> None:
    """The `main` of a node's module. Ends with exit code 0 on SIGTERM or the end of standard input."""
    parser = argparse.ArgumentParser(description="One node of a cluster; started by chaos.")
    parser.add_argument("--environment", required=True, type=Path, help="the file that the backend wrote")
    path = parser.parse_args().environment
    try:
        file = msgspec.json.decode(path.read_bytes(), type=NodeFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path}: no environment of a node: {error}") from None
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, contextlib.suppress(asyncio.CancelledError):
        runner.run(_main(program, ProcessEnvironment(file)))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _main(program: NodeProgram, environment: ProcessEnvironment) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(program(environment))
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    await loop.connect_read_pipe(lambda: _HarnessIsGone(), sys.stdin)
    await task


class _HarnessIsGone(asyncio.Protocol):
    def connection_lost(self, error: Exception | None) -> None:
        os._exit(0)
