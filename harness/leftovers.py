"""What runs left behind on this machine when their harness died, and how it is removed.

Everything that a run makes outside of its own process carries the run's name (`harness.run_id`), which says who
owns it. Only what carries such a name is touched, and only when its owner is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from harness.run_id import VARIABLE, in_use

NAMESPACE = re.compile(r"chaos\.([0-9a-z]+\.\d+\.\d+\.[0-9a-f]+)(?:\.|$)")
"""How a network namespace is named: for the run that made it, and whatever tells several apart."""
RULE = re.compile(r"chaos:([0-9a-z]+\.\d+\.\d+\.[0-9a-f]+)")
"""What the comment of a firewall rule says."""


class Leftover(msgspec.Struct, frozen=True):
    """One thing of a run. `remove` raises nothing where it is gone already, and `OSError` or `UserError` where it
    cannot be removed. `shared`: made for many runs, none of which needs it now."""

    what: str
    run: str
    remove: Callable[[], None]
    shared: bool = False

    @property
    def in_use(self) -> bool:
        return not self.shared and in_use(self.run)


@runtime_checkable
class LeavesBehind(Protocol):
    """What a backend also has whose runs leave more than processes, rules and namespaces of this machine."""

    def leftovers(self) -> list[Leftover]:
        """Of all runs, those that go on included; empty where there is nothing to look into."""
        ...


def on_this_machine() -> list[Leftover]:
    """Of all runs, those that go on included, in an order in which they can be removed."""
    return [*_processes(), *_namespaces(), *_firewall_rules()]


def _processes() -> Iterable[Leftover]:
    """Of this user; of everybody for root. Nothing where the system has no /proc."""
    mark = f"{VARIABLE}=".encode()
    for entry in sorted(Path("/proc").glob("[0-9]*")):
        pid = int(entry.name)
        if pid == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        for line in environment:
            if line.startswith(mark):
                run = line[len(mark) :].decode(errors="replace")
                yield Leftover(f"process {pid} ({command[:60]})", run, _killing(pid))


def _killing(pid: int) -> Callable[[], None]:
    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    return kill


def _namespaces() -> Iterable[Leftover]:
    for line in _output("ip", "netns", "list"):
        name = line.split()[0] if line.split() else ""
        named = NAMESPACE.match(name)
        if named is not None:
            yield Leftover(f"network namespace {name}", named[1], _running("ip", "netns", "delete", name))


def _firewall_rules() -> Iterable[Leftover]:
    for tool in ("iptables", "ip6tables"):
        table = ""
        for line in _output(f"{tool}-save"):
            table = line[1:] if line.startswith("*") else table
            named = RULE.search(line)
            if named is not None and line.startswith("-A "):
                words = shlex.split(line[3:])
                yield Leftover(
                    f"{tool} rule {line[3:]}", named[1], _running(tool, "-w", "-t", table, "-D", *words)
                )


def _output(*command: str) -> list[str]:
    """Nothing where there is no such program, or no permission to ask it: then we have made nothing with it."""
    if shutil.which(command[0]) is None:
        return []
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def _running(*command: str) -> Callable[[], None]:
    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")

    return run
