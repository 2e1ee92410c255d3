"""A cluster of real processes, started as a user starts it: `chaos up SYSTEM`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

CHAOS = (sys.executable, "-c", "from harness.cli import main; main()")


class Up(NamedTuple):
    """What `chaos up --json` said, and the process that said it."""

    process: subprocess.Popen[str]
    servers: str
    nodes: tuple[dict[str, Any], ...]
    folder: Path

    def node(self, name: str) -> dict[str, Any]:
        return next(node for node in self.nodes if node["name"] == name)

    def kill_9(self, name: str) -> None:
        os.kill(int(self.node(name)["pid"]), signal.SIGKILL)

    def logs(self) -> dict[str, str]:
        """What each node wrote: nothing, as long as all is well."""
        return {file.stem: file.read_text() for file in sorted(self.folder.glob("*.log"))}


@contextlib.contextmanager
def up(folder: Path, *words: str, system: str = "broker") -> Iterator[Up]:
    """Three brokers and three controllers (or three nodes of another system), until the end of the block."""
    process = subprocess.Popen(
        [*CHAOS, "up", system, "--json", "--dir", str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"no cluster: {process.communicate()[1]}"
        told = msgspec.json.decode(line)
        yield Up(process, told["bootstrap_servers"], tuple(told["nodes"]), folder)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
