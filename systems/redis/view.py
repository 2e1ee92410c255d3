"""Who is the primary: whom the Sentinels named last. A server's own word is worth less, since one that was cut off or
has just come back takes itself for the primary still."""

from __future__ import annotations

from typing import Any

from harness.foreign import STARTED, STATE
from harness.node import NodeEvent
from harness.topology import Topology
from systems.redis import SENTINEL, SERVER


class RedisView:
    """Implements `harness.system.ClusterView`. Selectors: `leader`, `followers`, `isr`, `replicas`, `owner`,
    `outside`, all of the one group of servers, whatever their argument."""

    def __init__(self, topology: Topology) -> None:
        self._servers = tuple(node.name for node in topology.with_role(SERVER))
        self._sentinels = tuple(node.name for node in topology.with_role(SENTINEL))
        self._at: dict[str, str] = {}
        self._primary = ""
        self._states: dict[str, dict[str, Any]] = {}

    def observe(self, event: NodeEvent) -> None:
        if event.kind == STARTED:
            self._at[f"{event.fields['host']}:{event.fields['port']}"] = event.node
            self._states.pop(event.node, None)
        elif event.kind == "exited":
            self._states.pop(event.node, None)
        elif event.kind == STATE:
            self._states[event.node] = event.fields
            if event.node in self._sentinels:
                self._primary = event.fields["primary"]

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        named = self._at.get(self._primary)
        primary = () if named is None else (named,)
        match function:
            case "leader" | "owner":
                return primary
            case "followers":
                return tuple(name for name in self._servers if name not in primary)
            case "isr" | "replicas":
                return self._servers
            case "outside" | "outside-isr":
                return ()
        raise KeyError(function)

    def snapshot(self) -> dict[str, Any]:
        return {"primary": list(self.select("leader", "")), "said": dict(sorted(self._states.items()))}
