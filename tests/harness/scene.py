"""A fault injector over a recording cluster, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

from recording_cluster import RecordingCluster

from harness.faults import Injector
from harness.history import HistoryWriter
from harness.node import NodeEvent
from harness.ops import Op
from harness.schedule import Fault, Schedule
from harness.system import Administered
from harness.topology import NodeInfo, Topology

TOPOLOGY = Topology(
    tuple(NodeInfo(f"n{i}", "store", i, 7000 + i) for i in (1, 2, 3)),
    clients=("client-0",),
    subjects={"leader": ("x",)},
)


class View:
    def __init__(self) -> None:
        self.leader: tuple[str, ...] = ("n1",)

    def observe(self, event: NodeEvent) -> None: ...

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        if function != "leader":
            raise KeyError(function)
        return self.leader

    def snapshot(self) -> dict[str, Any]:
        return {}


def fault(kind: str, selector: str, at_ms: int = 0, duration_ms: int | None = 20, **params: Any) -> Fault:
    return Fault(at_ms=at_ms, kind=kind, selector=selector, duration_ms=duration_ms, params=params)


class Scene:
    """One injector over a recording cluster; `play` runs a schedule and heals."""

    def __init__(
        self, topology: Topology = TOPOLOGY, *, system: Administered | None = None, timeout_s: float = 1.0
    ) -> None:
        self.cluster = RecordingCluster(topology)
        self._system = system
        self._timeout_s = timeout_s
        self.view = View()
        self.problems: list[str] = []
        self.ops: list[Op] = []
        self.injector: Injector

    def play(
        self,
        *faults: Fault,
        meanwhile: Callable[[Scene], Awaitable[None]] | None = None,
        only: frozenset[str] | None = None,
    ) -> Scene:
        async def run() -> None:
            writer = HistoryWriter(None, self.cluster.now_ns)
            self.ops = writer.ops
            self.injector = Injector(
                self.cluster,
                self.view,
                Schedule(faults),
                writer,
                seed=0,
                problem=lambda reason, trace: self.problems.append(reason),
                administered=self._system,
                change_timeout_s=self._timeout_s,
            )
            running = asyncio.ensure_future(self.injector.run())
            if meanwhile is not None:
                await meanwhile(self)
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
            else:
                await running
            await self.injector.heal_all(only=only)

        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            runner.run(run())
        return self

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(op.f, op.type) for op in self.ops]


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop that waits for nothing: its clock jumps to the next timer, however busy the machine is."""

    def __init__(self) -> None:
        selector = selectors.SelectSelector()
        ready = selector.select

        def jump(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            self._now += timeout or 0.0
            return ready(0)

        selector.select = jump  # type: ignore[method-assign]
        self._now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self._now


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
