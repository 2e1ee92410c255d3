"""The cluster as its nodes report it: who is up, who keeps a key."""

from __future__ import annotations

from typing import Any

from harness.node import NodeEvent
from harness.topology import Topology
from systems.quorum.ring import VNODES, Ring


class QuorumView:
    """Implements `harness.system.ClusterView`. Selectors: `replicas(key)`, `owner(key)`, `outside(key)`."""

    def __init__(self, topology: Topology) -> None:
        self._names = tuple(n.name for n in topology.nodes)
        self._copies = 3
        self._ring = Ring(self._names, vnodes=VNODES)
        self._down: dict[str, set[str]] = {}
        self._hints: dict[str, int] = {}

    def observe(self, event: NodeEvent) -> None:
        match event.kind:
            case "node-started":
                self._copies = int(event.fields["copies"])
                if event.fields["vnodes"] != self._ring.vnodes:
                    self._ring = Ring(self._names, vnodes=int(event.fields["vnodes"]))
                self._down[event.node] = set()
            case "peer-down":
                self._down.setdefault(event.node, set()).add(event.fields["peer"])
            case "peer-alive":
                self._down.setdefault(event.node, set()).discard(event.fields["peer"])
            case "hint-stored":
                self._hints[event.node] = self._hints.get(event.node, 0) + 1

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        replicas = self._ring.preference(argument, self._copies)
        match function:
            case "replicas":
                return replicas
            case "owner":
                return replicas[:1]
            case "outside":
                return tuple(name for name in self._names if name not in replicas)
        raise KeyError(function)

    def snapshot(self) -> dict[str, Any]:
        return {
            "believed_down": {node: sorted(peers) for node, peers in sorted(self._down.items()) if peers},
            "hints_stored": dict(sorted(self._hints.items())),
        }
