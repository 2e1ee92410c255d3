"""One simulated world: loop, hosts and network, from the first callback to the burial of the dead."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from harness.sim.boundaries import simulated
from harness.sim.choices import Choices
from harness.sim.clock import SimWallClock
from harness.sim.disk import SimDisk
from harness.sim.host import DEAD, PAUSED, RUNNING, Host, Process
from harness.sim.network import Network
from harness.sim.settings import Physics
from harness.sim.streams import StreamLoop
from harness.sim.trace import TraceWriter

HARNESS: Final = "harness"
"""The host of the test itself: never killed, never cut off."""
_CANCEL_ROUNDS: Final = 1_000
_IMMORTAL: list[Any] = []
"""Coroutines that answered every attempt to close them; kept so that the collector does not try again."""


class World:
    """Hosts by name; processes begin, pause and end here."""

    def __init__(self, choices: Choices, physics: Physics, trace_path: Path | None) -> None:
        self.choices = choices
        self.physics = physics
        self._numbers = 0
        self._processes: list[Process] = []
        self._unfinished: list[Any] = []
        kernel_host = self._new_host("network", "0.0.0.0")
        kernel = self._new_process(kernel_host)
        self.loop = StreamLoop(choices, kernel, physics.gc_callbacks)  # type: ignore[abstract]
        kernel_host.disk.attach(self.loop)
        self.network = self.loop.network = Network(self.loop, choices, physics)
        if trace_path is not None:
            self.network.tracer = TraceWriter(trace_path, self.loop.trace, choices)
        self.harness = self.begin(self.host(HARNESS))
        self.loop.before_collection = self._let_go  # type: ignore[method-assign]

    # hosts and processes

    def host(self, name: str) -> Host:
        """The machine of that name; made when first asked for."""
        found = self.network.hosts.get(name)
        if found is None:
            number = len(self.network.hosts) + 1
            found = self._new_host(name, f"10.0.{number >> 8}.{number & 255}")
            found.disk.attach(self.loop)
            self.network.add(found)
        return found

    def begin(self, host: Host) -> Process:
        """A new life on that host."""
        assert host.process is None or host.process.state == DEAD, f"{host.name} already runs something"
        if not host.powered:
            self.network.power_on(host)
        host.process = self._new_process(host)
        return host.process

    def kill(self, process: Process, *, power_lost: bool = False) -> int:
        """Nothing of the process runs again. Returns how many connections it had.

        Whoever waits for it is told by `Process.on_death`, in the harness's time.
        """
        if process.state == DEAD:
            return 0
        process.state = DEAD
        process.graveyard += process.held
        process.held = []
        process.let_go()
        if power_lost:
            process.host.powered = False
        connections = self.network.process_died(process, power_lost=power_lost)
        for tell in process.on_death:
            tell()
        process.on_death.clear()
        return connections

    def pause(self, process: Process) -> None:
        if process.state == RUNNING:
            process.state = PAUSED

    def resume(self, process: Process) -> None:
        if process.state == PAUSED:
            process.state = RUNNING
            held, process.held = process.held, []
            self.loop.release(held)

    def spawn(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of that process, begun by somebody else."""
        return self.loop.create_task(coroutine, context=process.context.copy())

    def as_harness(self, callback: Callable[..., Any], *args: Any) -> None:
        """Calls into the harness from the midst of a node's callback."""
        loop, process = self.loop, self.loop.process
        loop.process = self.harness
        try:
            self.harness.context.copy().run(callback, *args)
        except Exception as error:
            loop.crash(error)
        finally:
            loop.process = process

    def _let_go(self) -> None:
        for process in self._processes:
            if process.state != DEAD:
                process.let_go()

    def _new_host(self, name: str, address: str) -> Host:
        clock = SimWallClock(lambda: self.loop.now_ns)
        return Host(name, address, clock, SimDisk(self.choices, self.physics))

    def _new_process(self, host: Host) -> Process:
        rng = self.choices.derive(f"process/{host.name}/{host.lives}")
        process = Process(host, self._numbers, host.lives, rng)
        host.lives += 1
        self._numbers += 1
        self._processes.append(process)
        return process

    # the run

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Runs the harness's coroutine to its end in this world, then takes the world apart."""
        loop = self.loop
        with self._own_runtime(), simulated(loop):
            asyncio._set_running_loop(loop)
            try:
                task = self.spawn(self.harness, main())
                try:
                    return loop.run_until_complete(task)
                finally:
                    self._finish_harness()
            finally:
                self._bury()
                asyncio._set_running_loop(None)
                if self.network.tracer is not None:
                    self.network.tracer.close()

    @contextmanager
    def _own_runtime(self) -> Iterator[None]:
        """The collector runs only when the loop says so, and sees only what this run makes."""
        was_enabled = gc.isenabled()
        gc.disable()
        gc.freeze()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finalize_generator)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*hooks)
            gc.unfreeze()
            if was_enabled:
                gc.enable()

    def _finalize_generator(self, generator: Any) -> None:
        """An asynchronous generator was dropped half-way: as asyncio does, its process closes it."""
        process = self.loop.process
        if self.loop.ended or process.state == DEAD or process is self.loop.kernel:
            self._unfinished.append(generator)
        else:
            self.spawn(process, generator.aclose())

    def _finish_harness(self) -> None:
        """As `asyncio.run` does: what the harness left running is cancelled and may clean up."""
        left = [task for task in self.harness.tasks if not task.done()]
        for task in left:
            task.cancel()
        with contextlib.suppress(Exception):
            for _ in range(_CANCEL_ROUNDS):
                if all(task.done() for task in left):
                    return
                self.loop.iterate()

    def _bury(self) -> None:
        """Closes every coroutine that is still suspended, with the world disconnected: its `finally`
        blocks run now, where no event, disk, connection or callback can follow from them."""
        self.loop.ended = True
        for process in self._processes:
            process.state = DEAD
        for process in self._processes:
            self.loop.process = process
            for task in process.tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    process.context.copy().run(_close, task.get_coro())
            process.tasks.clear()
            process.graveyard.clear()
            process.held.clear()
        self._unfinished.clear()
        self.network.connections.clear()
        self.loop.disconnect()
        gc.collect()


def _close(coroutine: Any) -> None:
    """Closes a coroutine however often it ignores that."""
    for _ in range(100):
        try:
            coroutine.close()
        except BaseException:
            continue
        return
    _IMMORTAL.append(coroutine)
