"""Hosts (machines) and processes (what runs on them, one at a time).

A process is one life of a program: killing it ends that life, a restart begins another one on the same
host, with the same disk and clock. Every callback of the loop belongs to one process.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Final

from harness.client_log import HERE
from harness.sim.clock import SimWallClock
from harness.sim.disk import SimDisk

if TYPE_CHECKING:
    from harness.sim.handles import Handle
    from harness.sim.tasks import SimTask
    from harness.sim.transport import SimTransport

RUNNING: Final = 0
PAUSED: Final = 1
DEAD: Final = 2


class Process:
    """One life of a program on a host.

    `held` are the callbacks that came due while it was paused. `graveyard` keeps what a dead process
    owned alive to the end of the run: a suspended coroutine that is collected runs its `finally`, and
    nothing of a dead process may run.
    """

    __slots__ = (
        "_prune_at",
        "context",
        "endpoints",
        "exception_handler",
        "graveyard",
        "held",
        "host",
        "incarnation",
        "number",
        "on_death",
        "random",
        "state",
        "tasks",
    )

    def __init__(self, host: Host, number: int, incarnation: int, rng: random.Random) -> None:
        self.host = host
        self.number = number
        self.incarnation = incarnation
        self.random = rng
        self.state: int = RUNNING
        self.held: list[Handle] = []
        self.graveyard: list[Any] = []
        self.tasks: list[SimTask[Any]] = []
        self.endpoints: dict[SimTransport, None] = {}
        self.on_death: list[Callable[[], None]] = []
        self.exception_handler: Callable[[Any, dict[str, Any]], Any] | None = None
        self.context: Context = Context()
        self.context.run(CURRENT.set, self)
        self.context.run(HERE.set, host.name)
        self._prune_at = 64

    def __repr__(self) -> str:
        return f"<{self.host.name} #{self.incarnation} {('running', 'paused', 'dead')[self.state]}>"

    def withhold(self, handle: Handle) -> None:
        """A callback came due that may not run: it waits for the resume, or for ever."""
        (self.held if self.state == PAUSED else self.graveyard).append(handle)

    def adopt(self, task: SimTask[Any]) -> None:
        """Keeps the task alive while it is not done (asyncio itself holds it weakly)."""
        tasks = self.tasks
        tasks.append(task)
        if len(tasks) > self._prune_at:
            self.let_go()

    def let_go(self) -> None:
        """Forgets tasks that are done."""
        self.tasks = [t for t in self.tasks if not t.done()]
        self._prune_at = max(64, 2 * len(self.tasks))


CURRENT: ContextVar[Process] = ContextVar("simulated process")
"""The process that a context belongs to; asyncio copies it into every task and callback."""


class Host:
    """One simulated machine. `powered` is False between a power failure and the next start."""

    __slots__ = ("address", "clock", "disk", "lives", "name", "next_port", "powered", "process")

    def __init__(self, name: str, address: str, clock: SimWallClock, disk: SimDisk) -> None:
        self.name = name
        self.address = address
        self.clock = clock
        self.disk = disk
        self.powered = True
        self.process: Process | None = None
        self.lives = 0
        self.next_port = 40_000

    def ephemeral_port(self) -> int:
        self.next_port = self.next_port + 1 if self.next_port < 65_535 else 40_001
        return self.next_port
