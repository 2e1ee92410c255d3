"""The cluster as its nodes report it: who is up, who keeps a key."""

from __future__ import annotations

from typing import Any

from harness.node import NodeEvent
from harness.topology import Topology
from systems.quorum.ring import VNODES, Ring, range_of


class QuorumView:
    """Implements `harness.system.ClusterView`. Selectors: `replicas(key)`, `owner(key)`, `outside(key)`, and
    under consensus `leader(key)`: of the key's range."""

    def __init__(self, topology: Topology) -> None:
        self._copies = 3
        self._ring = Ring([n.name for n in topology.founders], vnodes=VNODES)
        self._epoch = 0
        self._stage = "stable"
        self._down: dict[str, set[str]] = {}
        self._hints: dict[str, int] = {}
        self._ranges = 0
        self._leaders: dict[int, tuple[int, str]] = {}
        """Range -> the latest term that anybody has led it in, and who."""

    def observe(self, event: NodeEvent) -> None:
        match event.kind:
            case "node-started":
                self._copies = int(event.fields["copies"])
                self._down[event.node] = set()
            case "ring-changed":
                self._turn(event)
            case "peer-down":
                self._down.setdefault(event.node, set()).add(event.fields["peer"])
            case "peer-alive":
                self._down.setdefault(event.node, set()).discard(event.fields["peer"])
            case "range-led":
                self._ranges = int(event.fields["ranges"])
                number, term = int(event.fields["range"]), int(event.fields["term"])
                self._leaders[number] = max(self._leaders.get(number, (0, "")), (term, event.node))
            case "hint-stored":
                self._hints[event.node] = self._hints.get(event.node, 0) + 1

    def _turn(self, event: NodeEvent) -> None:
        """The latest ring that any node knows; while it changes, that of those who answer reads."""
        if event.fields["epoch"] <= self._epoch:
            return
        self._epoch, self._stage = event.fields["epoch"], event.fields["stage"]
        members = event.fields["coming" if self._stage == "handing-over" else "members"]
        self._ring = Ring(
            {name: tokens for name, (tokens, _) in members.items()},
            vnodes=int(event.fields["vnodes"]),
            weights={name: weight for name, (_, weight) in members.items()},
        )

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        replicas = self._ring.preference(argument, self._copies)
        match function:
            case "replicas":
                return replicas
            case "owner":
                return replicas[:1]
            case "leader":
                _, leader = self._leaders.get(range_of(argument, self._ranges), (0, ""))
                return (leader,) if leader else ()
            case "outside":
                return tuple(name for name in self._ring.nodes if name not in replicas)
        raise KeyError(function)

    def snapshot(self) -> dict[str, Any]:
        return {
            "ring": {"epoch": self._epoch, "stage": self._stage, "members": list(self._ring.nodes)},
            "believed_down": {node: sorted(peers) for node, peers in sorted(self._down.items()) if peers},
            "hints_stored": dict(sorted(self._hints.items())),
        }
