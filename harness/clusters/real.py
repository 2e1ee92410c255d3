"""What all clusters of real processes have in common: who belongs to them, whose clients there are, what was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from harness.clusters.client_tasks import TaskHost
from harness.node import NodeEvent
from harness.topology import Topology


class RealCluster:
    """A part of `harness.cluster.Cluster`."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._start_ns = time.monotonic_ns()
        self._members = {node.name: True for node in topology.founders}
        """Name -> whether it is a founder."""
        self._hosts: dict[str, TaskHost] = {}
        self._events: list[NodeEvent] = []
        self._callbacks: list[Callable[[NodeEvent], None]] = []

    @property
    def events(self) -> Sequence[NodeEvent]:
        return self._events

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.topology.nodes if node.name in self._members)

    def now_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns

    def client_host(self, name: str) -> TaskHost:
        return self._hosts.setdefault(name, TaskHost(name))

    def on_event(self, callback: Callable[[NodeEvent], None]) -> None:
        self._callbacks.append(callback)

    def _tell(self, event: NodeEvent) -> None:
        self._events.append(event)
        for callback in self._callbacks:
            callback(event)
