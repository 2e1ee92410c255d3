"""The event loop: virtual time in integer nanoseconds, one queue for all hosts, seeded order of ties.

An iteration works as asyncio's does: what is due joins the ready queue, then what was ready at the
start of the iteration runs. Within a process the order is asyncio's (first come, first served), because
programs may rely on it; between hosts, whose real clocks never agree, timers of one instant run in an
order that is drawn. Each callback costs a fixed time, so that a busy program cannot stop the clock.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeVar

from harness.sim.choices import TIE, Choices
from harness.sim.errors import ProcessKilled, SimulationDeadlockError
from harness.sim.handles import Handle, TimerHandle
from harness.sim.host import CURRENT, DEAD, Process
from harness.sim.refused import RefusedLoopCalls
from harness.sim.tasks import SimFuture, SimTask
from harness.sim.trace import BLOCK, TraceDigest

T = TypeVar("T")

CALLBACK_COST_NS: Final = 1_000
"""What one callback takes. Programs that poll with `sleep(0)` so make time pass."""

TIMER_GRID_NS: Final = 100_000
"""Timers fire on a grid, late by up to 0.1 ms as real ones do, which makes instants that hosts share."""

_Entry = tuple[int, int, int, Handle]


class SimLoop(RefusedLoopCalls):
    """The loop of one simulation. `process` is whose callback is running."""

    def __init__(self, choices: Choices, kernel: Process, gc_callbacks: int) -> None:
        self.choices = choices
        self.trace = TraceDigest()
        self.now_ns = 0
        self.kernel = kernel
        self.process = kernel
        self.callbacks = 0
        self.ended = False
        """After the end nothing is scheduled any more: the world is disconnected."""
        self._ready: deque[Handle] = deque()
        self._heap: list[_Entry] = []
        self._sequence = 0
        self._numbers = 0
        self._cancelled = 0
        self._gc_callbacks = gc_callbacks
        self._gc_budget = gc_callbacks
        self._collections = 0
        self._crash: BaseException | None = None
        self._running = False
        self.get_debug: Callable[[], bool] = bool
        """Asked by every future: a function of C that says False."""
        self._task_factory: Any = None

    # time and callbacks

    def time(self) -> float:
        return self.now_ns / 1e9

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        if context is None:
            context = copy_context()
            process = self.process
        else:
            process = context.get(CURRENT, self.process)
        handle = Handle(callback, args, context, process)
        if not self.ended:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        return self.timer(self.now_ns + int(delay * 1e9), callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        return self.timer(int(when * 1e9), callback, args, context)

    def timer(
        self, due_ns: int, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> TimerHandle:
        """A callback on the timer grid, in the process of `context` (or the running one)."""
        if context is None:
            context = copy_context()
            process = self.process
        else:
            process = context.get(CURRENT, self.process)
        handle = TimerHandle(callback, args, context, process, due_ns, self)
        if not self.ended:
            self._sequence = sequence = self._sequence + 1
            on_grid = -(-due_ns // TIMER_GRID_NS) * TIMER_GRID_NS
            heappush(self._heap, (on_grid, due_ns, sequence, handle))
        return handle

    def schedule(self, when_ns: int, handle: Handle) -> None:
        """At exactly that time; for the simulator's own events, which may use one handle many times."""
        self._sequence = sequence = self._sequence + 1
        heappush(self._heap, (when_ns, when_ns, sequence, handle))

    def kernel_timer(self, when_ns: int, callback: Callable[..., Any], *args: Any) -> TimerHandle:
        """A callback of the simulated world itself, which no host's death or pause concerns."""
        handle = TimerHandle(callback, args, None, self.kernel, when_ns, self)
        if not self.ended:
            self.schedule(when_ns, handle)
        return handle

    def in_process(self, process: Process, callback: Callable[..., Any], *args: Any) -> None:
        """Runs the callback soon, as part of that process."""
        if not self.ended:
            self._ready.append(Handle(callback, args, process.context.copy(), process))

    def release(self, held: list[Handle]) -> None:
        """What a paused process missed runs now, in order."""
        self._ready.extend(held)

    def timer_cancelled(self) -> None:
        self._cancelled += 1
        heap = self._heap
        if self._cancelled > 500 and self._cancelled * 2 > len(heap):
            # In place: nobody may hold a stale list.
            heap[:] = [entry for entry in heap if entry[3].callback is not None]
            heapify(heap)
            self._cancelled = 0

    # tasks and futures

    def create_future(self) -> SimFuture[Any]:
        future: SimFuture[Any] = SimFuture(loop=self)
        self._numbers = future.number = self._numbers + 1
        return future

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        if self._task_factory is not None:
            made: asyncio.Task[T] = self._task_factory(self, coro)
            return made
        if context is None:
            context = copy_context()
            process = self.process
        else:
            process = context.get(CURRENT, self.process)
        self._numbers = number = self._numbers + 1
        task: SimTask[T] = SimTask(
            coro,
            number=number,
            process=process,
            loop=self,
            name=name or f"Task-{number}",
            context=context,
        )
        process.adopt(task)
        return task

    def set_task_factory(self, factory: Any) -> None:
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        return self._task_factory

    # running

    def run_until_complete(self, future: Any) -> Any:
        """Runs until the future (or the harness's coroutine) is done.

        Raises `SimulationDeadlockError` where nothing could ever complete it, and what crashed the
        harness where one of its own callbacks raised.
        """
        if asyncio.iscoroutine(future):
            future = self.create_task(future)
        self._running = True
        try:
            if not future.done():
                self.iterate(future)
            if self._crash is not None:
                raise self._crash
        finally:
            self._running = False
            self.process = self.kernel
        return future.result()

    def disconnect(self) -> None:
        """Forgets everything scheduled, after the end."""
        self._ready.clear()
        self._heap.clear()

    def crash(self, error: BaseException) -> None:
        """Ends the run with an error: for mistakes of the harness, which no verdict may survive."""
        if self._crash is None:
            self._crash = error

    def iterate(self, until: asyncio.Future[Any] | None = None) -> None:
        """One round: the clock moves to what is due next, and everything ready runs. With `until`, rounds
        until it is done or the harness has crashed. All in one function, since everything runs through it."""
        ready, heap, words = self._ready, self._heap, self.trace.words
        popleft, record = ready.popleft, words.append
        while True:
            if heap:
                when = heap[0][0]
                if not ready and when > self.now_ns:
                    self.now_ns = when
                if when <= self.now_ns:
                    handle = heappop(heap)[3]
                    if heap and heap[0][0] <= self.now_ns:
                        self._collect_due(when, handle)
                    else:
                        ready.append(handle)
            elif not ready:
                raise SimulationDeadlockError(
                    f"at {self.now_ns / 1e9:.3f} s nothing is left to happen, and the scenario still waits: "
                    "a future that nobody completes, or a client whose host was killed"
                )
            count = len(ready)
            for _ in range(count):
                handle = popleft()
                callback = handle.callback
                if callback is None:
                    continue
                process = handle.process
                if process.state:
                    process.withhold(handle)
                    continue
                self.now_ns = now = self.now_ns + CALLBACK_COST_NS
                self.process = process
                record(process.number << 48 | now)
                context = handle.context
                try:
                    if context is None:
                        callback(*handle.args)
                    else:
                        context.run(callback, *handle.args)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:
                    self._callback_failed(handle, error)
            self.callbacks += count
            self._gc_budget -= count
            if len(words) >= BLOCK:
                self.trace.flush()
            if self._gc_budget <= 0:
                self._collect_garbage()
            if until is None or until.done() or self._crash is not None:
                return

    def _collect_due(self, when: int, handle: Handle) -> None:
        """Moves what is due, `handle` first, to the ready queue; hosts that share an instant go in a drawn
        order."""
        heap, ready, now = self._heap, self._ready, self.now_ns
        while True:
            if heap and heap[0][0] == when:
                batch = [handle]
                while heap and heap[0][0] == when:
                    batch.append(heappop(heap)[3])
                batch = [h for h in batch if h.callback is not None]
                order: dict[int, float] = {}
                for h in batch:
                    if h.process.number not in order:
                        order[h.process.number] = 0.0
                if len(order) > 1:
                    order = {number: self.choices.uniform(TIE) for number in order}
                    batch.sort(key=lambda h: order[h.process.number])
                ready.extend(batch)
            else:
                ready.append(handle)
            if not heap or heap[0][0] > now:
                break
            when, _, _, handle = heappop(heap)

    def _collect_garbage(self) -> None:
        """At a fixed step, because finalizers are callbacks too."""
        self._gc_budget = self._gc_callbacks
        self._collections += 1
        self.process = self.kernel
        self.before_collection()
        gc.collect(2 if self._collections % 50 == 0 else 1 if self._collections % 5 == 0 else 0)

    # failures

    def _callback_failed(self, handle: Handle, error: BaseException) -> None:
        if isinstance(error, ProcessKilled):
            return
        if handle.process is self.kernel:
            self.crash(error)
            return
        self.process = handle.process
        self.call_exception_handler(
            {"message": f"Exception in callback {handle.callback!r}", "exception": error}
        )

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        # A forgotten task is told of when it is collected, which may be in anybody's callback.
        owner = context.get("future")
        process = owner.process if isinstance(owner, SimTask) else self.process
        if self.ended or process.state == DEAD or isinstance(context.get("exception"), ProcessKilled):
            return
        handler = process.exception_handler
        running, self.process = self.process, process
        try:
            if handler is not None:
                handler(self, context)
            else:
                self.default_exception_handler(context)
        finally:
            self.process = running

    def before_collection(self) -> None:
        """Replaced by the world, which lets go of what is done."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Replaced by the cluster, which reports it as an event of the host."""

    def set_exception_handler(self, handler: Any) -> None:
        self.process.exception_handler = handler

    def get_exception_handler(self) -> Any:
        return self.process.exception_handler

    # the rest of asyncio's loop

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self.ended

    def set_debug(self, enabled: bool) -> None:
        self.get_debug = (lambda: True) if enabled else bool

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Inline: there are no threads in a simulation."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def set_default_executor(self, executor: Any) -> None:
        return None

    async def shutdown_asyncgens(self) -> None:
        return None

    async def shutdown_default_executor(self) -> None:
        return None
