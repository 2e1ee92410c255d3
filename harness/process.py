"""A node as a real process: its disk is a folder, its clock the machine's, its events lines of a file.

`python -m systems.broker --environment FILE` calls `run_node`, and everything else is in that file, which
the backend wrote. What the harness asks later comes on standard input (`harness.control`), and the node ends
when that does: it never outlives the harness.
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

from harness import control
from harness.errors import UserError
from harness.folder_disk import FolderDisk
from harness.kept_disk import KeptDisk
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
    beside: str = ""
    """A folder for what it takes to lose power; none: this disk cannot."""


class EventLines:
    """Appends what a node says of itself to its file."""

    def __init__(self, file: NodeFile) -> None:
        self._name = file.name
        self._start_ns = file.start_ns
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._events = os.open(file.events, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def tell(self, kind: str, fields: Mapping[str, Any]) -> None:
        event = NodeEvent(time.monotonic_ns() - self._start_ns, self._name, kind, dict(fields))
        os.write(self._events, self._encoder.encode(event) + b"\n")


class ProcessEnvironment:
    """`harness.node.NodeEnvironment` of a real process."""

    def __init__(self, file: NodeFile) -> None:
        info = file.topology.named(file.name)
        self.name = file.name
        self.id = info.id
        self.role = info.role
        self.topology = file.topology
        data = Path(file.data)
        self.disk = KeptDisk(data, Path(file.beside)) if file.beside else FolderDisk(data)
        self.wall_clock = control.SkewedClock()
        self._armed: dict[str, None] = {}
        self.random = random.Random(f"{file.seed}:{file.name}:{file.incarnation}")
        self.config: Mapping[str, Any] = file.config
        self.bugs = frozenset(file.bugs)
        self.incarnation = file.incarnation
        self.founder = file.founder
        self.delays = MessageDelays(self.random.random)
        self.listen = Address(*file.listen)
        self.advertised = Address(*file.advertised)
        self._peers = file.peers
        self._events = EventLines(file)

    def peer(self, name: str) -> Address:
        return Address(*self._peers[name])

    def emit(self, kind: str, /, **fields: Any) -> None:
        self._events.tell(kind, fields)

    def step(self, name: str) -> None:
        """Stands still where the harness waits for this step."""
        if name in self._armed:
            self.emit(control.STEP_REACHED, step=name)
            os.kill(os.getpid(), signal.SIGSTOP)

    def obey(self, request: control.Request) -> None:
        match request:
            case control.Clock():
                self.wall_clock.set(request)
            case control.Disk():
                self.disk.full = request.full
                self.disk.latency_s, self.disk.jitter_s = request.latency_ms / 1e3, request.jitter_ms / 1e3
            case control.Delay():
                self.delays.set(
                    request.source,
                    request.target,
                    request.kind,
                    latency_s=request.latency_ms / 1e3,
                    jitter_s=request.jitter_ms / 1e3,
                )
            case control.Arm():
                if request.armed:
                    self._armed[request.step] = None
                else:
                    self._armed.pop(request.step, None)
            case control.Report():
                self.emit(
                    control.REPORTED,
                    number=request.number,
                    clock_off_ms=self.wall_clock.off_ns / 1e6,
                    disk_full=self.disk.full,
                    fsync_ms=self.disk.latency_s * 1e3,
                )


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
    await loop.connect_read_pipe(lambda: Harness(environment.obey, lambda: None), sys.stdin)
    await task


class Harness(asyncio.Protocol):
    """Standard input: what the harness asks, and its end."""

    def __init__(self, obey: Callable[[control.Request], None], gone: Callable[[], None]) -> None:
        self._obey, self._gone = obey, gone
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._obey(control.decode(line))

    def connection_lost(self, error: Exception | None) -> None:
        self._gone()
        os._exit(0)
