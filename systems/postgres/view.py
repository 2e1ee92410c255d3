"""Who the primary is, by the servers' own word: of two that say so the one with the newer timeline."""

from __future__ import annotations

from typing import Any

from harness.foreign import STARTED, STATE
from harness.node import NodeEvent
from harness.topology import Topology


class PostgresView:
    """Implements `harness.system.ClusterView`. Selectors: `leader`, `followers`, `isr`, `replicas`, `owner`,
    `outside`, all of the one group of servers, whatever their argument."""

    def __init__(self, topology: Topology) -> None:
        self._servers = tuple(node.name for node in topology.nodes)
        self._primary = self._servers[0]
        self._timeline = 0
        self._states: dict[str, dict[str, Any]] = {}

    def observe(self, event: NodeEvent) -> None:
        if event.kind in (STARTED, "exited"):
            self._states.pop(event.node, None)
        elif event.kind == STATE:
            self._states[event.node] = event.fields
            if event.fields["role"] == "primary" and event.fields["timeline"] >= self._timeline:
                self._primary, self._timeline = event.node, event.fields["timeline"]

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        match function:
            case "leader" | "owner" | "primary":
                return (self._primary,)
            case "followers":
                return tuple(name for name in self._servers if name != self._primary)
            case "isr" | "replicas":
                return self._servers
            case "outside" | "outside-isr":
                return ()
        raise KeyError(function)

    def snapshot(self) -> dict[str, Any]:
        return {"primary": [self._primary], "said": dict(sorted(self._states.items()))}
