"""A cluster that only writes down what is done to it, for tests of the fault injector."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from harness.cluster import Evidence, How
from harness.clusters.client_tasks import TaskHost
from harness.node import Address, NodeEvent
from harness.schedule import KINDS, MESSAGE_KINDS
from harness.topology import Topology


class RecordingCluster:
    """`calls` in order, as text. `failing` makes the named call raise; `unproven` makes it unverifiable."""

    capabilities = KINDS | {MESSAGE_KINDS}

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.calls: list[str] = []
        self.members = tuple(node.name for node in topology.founders)
        self.up = set(self.members)
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

    async def wipe(self, node: str) -> Evidence:
        return self._did(f"wipe {node}")

    async def fill_disk(self, node: str, *, full: bool) -> Evidence:
        return self._did(f"{'fill' if full else 'empty'} {node}")

    async def slow_disk(self, node: str, *, latency_ms: float, jitter_ms: float) -> Evidence:
        return self._did(f"disk {node} {latency_ms:g}±{jitter_ms:g}")

    async def limit_cpu(self, node: str, *, cores: float | None) -> Evidence:
        return self._did(f"cpu {node} {cores}")

    async def limit_memory(self, node: str, *, more_mb: float | None) -> Evidence:
        return self._did(f"memory {node} {more_mb}")

    async def launch(self, node: str) -> Evidence:
        self.members = tuple(n.name for n in self.topology.nodes if n.name in (*self.members, node))
        self.up.add(node)
        return self._did(f"launch {node}")

    async def retire(self, node: str) -> Evidence:
        self.members = tuple(n for n in self.members if n != node)
        self.up.discard(node)
        return self._did(f"retire {node}")

    async def degrade(
        self,
        source: str,
        target: str,
        *,
        latency_ms: float,
        jitter_ms: float,
        loss: float = 0.0,
        bandwidth_kbps: float = 0.0,
        datagram_loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> Evidence:
        poor = {
            "loss": loss,
            "kbps": bandwidth_kbps,
            "datagram-loss": datagram_loss,
            "duplicate": duplicate,
            "reorder": reorder,
        }
        told = "".join(f" {name} {value:g}" for name, value in poor.items() if value)
        return self._did(f"slow {source}>{target} {latency_ms:g}±{jitter_ms:g}{told}")

    async def delay_messages(
        self, source: str, target: str, *, kind: str, latency_ms: float, jitter_ms: float
    ) -> Evidence:
        return self._did(f"delay {kind} {source}>{target} {latency_ms:g}±{jitter_ms:g}")

    async def skew(self, node: str, *, offset_ms: float, rate: float = 1.0) -> Evidence:
        return self._did(f"skew {node} {offset_ms:g} x{rate:g}")

    def arm(self, node: str, step: str, action: Callable[[str], None]) -> Callable[[], None]:
        self.armed[(node, step)] = action
        return lambda: self.armed.pop((node, step), None) and None

    def reach(self, node: str, step: str) -> None:
        self.armed[(node, step)](node)
