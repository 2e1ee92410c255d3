"""A cluster that only writes down what is done to it, for tests of the fault injector."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from harness.cluster import Evidence, How
from harness.clusters.client_tasks import TaskHost
from harness.node import Address, NodeEvent
from harness.schedule import KINDS
from harness.topology import Topology


class RecordingCluster:
    """`calls` in order, as text. `failing` makes the named call raise; `unproven` makes it unverifiable."""

    capabilities = KINDS

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.calls: list[str] = []
        self.up = {node.name for node in topology.nodes}
        self.failing = ""
        self.unproven = ""
        self.armed: dict[tuple[str, str], Callable[[str], None]] = {}
        self.events: Sequence[NodeEvent] = ()
        self._ticks = 0

    def now_ns(self) -> int:
        self._ticks += 1
        return self._ticks

    def _did(self, call: str) -> Evidence:
        if self.failing and call.startswith(self.failing):
            raise OSError(f"{call} failed")
        self.calls.append(call)
        if self.unproven and call.startswith(self.unproven):
            return Evidence(None, "no probe")
        return Evidence(True)

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    def running(self, node: str) -> bool:
        return node in self.up

    def client_host(self, name: str) -> TaskHost:
        return TaskHost(name)

    def address(self, node: str, *, client: str) -> Address:
        return Address("127.0.0.1", 1)

    def on_event(self, callback: Callable[[NodeEvent], None]) -> None: ...

    async def kill(self, node: str) -> Evidence:
        self.up.discard(node)
        return self._did(f"kill {node}")

    async def restart(self, node: str) -> Evidence:
        self.up.add(node)
        return self._did(f"restart {node}")

    async def pause(self, node: str) -> Evidence:
        return self._did(f"pause {node}")

    async def resume(self, node: str) -> Evidence:
        return self._did(f"resume {node}")

    async def power_fail(self, node: str, *, torn: bool = False) -> Evidence:
        self.up.discard(node)
        return self._did(f"power {node}{' torn' if torn else ''}")

    async def cut(self, source: str, target: str, *, how: How) -> Evidence:
        await asyncio.sleep(0)
        return self._did(f"cut {source}>{target} {how}")

    async def heal(self, source: str, target: str) -> Evidence:
        return self._did(f"heal {source}>{target}")

    async def degrade(self, source: str, target: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        return self._did(f"slow {source}>{target} {latency_ms:g}±{jitter_ms:g}")

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        return self._did(f"skew {node} {offset_ms:g} x{rate:g}")

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        self.armed[(node, step)] = action
        return lambda: self.armed.pop((node, step), None) and None

    def reach(self, node: str, step: str) -> None:
        self.armed[(node, step)](node)
