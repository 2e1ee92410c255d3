"""Who leads, as the members say: of several who say so, the one of the highest term."""

from __future__ import annotations

from typing import Any

from harness.foreign import STARTED, STATE
from harness.node import NodeEvent
from harness.topology import Topology


class EtcdView:
    """Implements `harness.system.ClusterView`. Selectors, whatever their argument: `leader`, `followers`, `isr`,
    `replicas`, `owner`, `outside`."""

    def __init__(self, topology: Topology) -> None:
        self._members = tuple(node.name for node in topology.nodes)
        self._states: dict[str, dict[str, Any]] = {}

    def observe(self, event: NodeEvent) -> None:
        if event.kind == STATE:
            self._states[event.node] = event.fields
        elif event.kind in (STARTED, "exited"):
            self._states.pop(event.node, None)

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        leading = [name for name, said in self._states.items() if said["role"] == "leader"]
        leader = tuple(sorted(leading, key=lambda name: int(self._states[name]["term"]))[-1:])
        match function:
            case "leader" | "owner":
                return leader
            case "followers":
                return tuple(name for name in self._members if name not in leader)
            case "isr" | "replicas":
                return self._members
            case "outside" | "outside-isr":
                return ()
        raise KeyError(function)

    def snapshot(self) -> dict[str, Any]:
        return {"leader": list(self.select("leader", "")), "said": dict(sorted(self._states.items()))}
