"""Programs that we did not write, as nodes: `python -m systems.redis --environment FILE` runs one of them.

A small process of ours, the keeper, stands before the program on every backend. It writes the configuration, starts
the program, asks it now and then what it is (leader, follower, …) and tells that as the node's events, passes SIGTERM
on, and ends when the program ends. The program ends with its keeper, and the keeper with the harness.

An adapter says the rest, in a class of its own (`ForeignNode`), beside the system's (`harness.system.System`) with
the programs it needs (`harness.system.Foreign`). See docs/how-to/test-your-own-system.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harness import control
from harness.capabilities import DefiniteFailure
from harness.end_with_parent import end_with_parent
from harness.errors import UserError
from harness.faketime import SETTING as FAKETIME
from harness.faketime import FakedClock
from harness.process import EventLines, Harness, NodeFile
from harness.system import Foreign

LOOK_S = 0.2
PATIENCE_S = 1.0
"""How long one look may take: a program that does not answer says nothing."""
STARTED, STATE = "listening", "state"
"""Kinds of the events of such nodes: where others reach it, and what it says that it is."""


class ForeignNode(Protocol):
    """One node of a program that we did not write; made anew at every start of the node.

    Such programs tell each other addresses, so that all of them know a node by the same one: `NodeFile.peers`, which
    has the node itself, too, holds the same for all of them.
    """

    def prepare(self) -> Sequence[str]:
        """Writes the configuration below `NodeFile.data`, and returns the program's command line. What is there from
        an earlier start must be kept where the program itself changes it."""
        ...

    async def look(self) -> Mapping[str, Any] | None:
        """What the program says of itself now, as an event's fields; told whenever it changes. None, `OSError`
        or `DefiniteFailure` where it says nothing."""
        ...


def run_foreign(adapter: Callable[[NodeFile], ForeignNode]) -> None:
    """The `main` of the keeper's module. Exits as the program does."""
    parser = argparse.ArgumentParser(description="One node of a cluster; started by chaos.")
    parser.add_argument("--environment", required=True, type=Path, help="the file that the backend wrote")
    file = msgspec.json.decode(parser.parse_args().environment.read_bytes(), type=NodeFile)
    folder = Path(file.data)
    folder.mkdir(parents=True, exist_ok=True)
    node = adapter(file)
    command = list(node.prepare())
    try:
        clock = (
            FakedClock(Path(file.events).with_name("faketime")) if file.config.get(FAKETIME.name) else None
        )
    except UserError as error:
        sys.exit(str(error))
    program = subprocess.Popen(
        command if clock is None else clock.command(command),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    )
    sys.exit(asyncio.run(_keep(program, node, file, clock)))


def missing_programs(system: object) -> UserError | None:
    """What to say where this machine lacks a program that the system needs."""
    if not isinstance(system, Foreign):
        return None
    missing = {name: package for name, package in system.programs.items() if shutil.which(name) is None}
    if not missing:
        return None
    packages = " ".join(dict.fromkeys(missing.values()))
    return UserError(f"{', '.join(missing)} not found on this machine: apt-get install {packages}")


async def _keep(
    program: subprocess.Popen[bytes], node: ForeignNode, file: NodeFile, clock: FakedClock | None
) -> int:
    def obey(request: control.Request) -> None:
        # Of a program that we did not write, only its clock can be moved.
        if isinstance(request, control.Clock) and clock is not None:
            clock.set(request)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, program.terminate)
    await loop.connect_read_pipe(lambda: Harness(obey, program.kill), sys.stdin)
    events = EventLines(file)
    host, port = file.peers[file.name]
    events.tell(STARTED, {"host": host, "port": port, "incarnation": file.incarnation})
    watching = asyncio.ensure_future(_watch(node, events))
    # Not the loop's own child watcher: its thread would be the one whose end the kernel tells the program of.
    while True:
        code = program.poll()
        if code is not None:
            watching.cancel()
            return code if code >= 0 else 128 - code
        if watching.done():
            # A mistake of the adapter's, which would otherwise only look like a silent program.
            program.kill()
            watching.result()
        if clock is not None and clock.drifts:
            clock.update()
        await asyncio.sleep(LOOK_S / 4)


async def _watch(node: ForeignNode, events: EventLines) -> None:
    last: Mapping[str, Any] | None = None
    while True:
        with contextlib.suppress(OSError, EOFError, DefiniteFailure):
            async with asyncio.timeout(PATIENCE_S):
                said = await node.look()
            if said is not None and said != last:
                last = dict(said)
                events.tell(STATE, last)
        await asyncio.sleep(LOOK_S)
