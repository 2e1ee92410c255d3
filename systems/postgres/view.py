"""What selectors and the report know of the servers: who the primary is."""

from __future__ import annotations

from typing import Any

from harness.node import NodeEvent
from harness.topology import Topology


class PostgresView:
    def __init__(self, topology: Topology) -> None:
        self._primary = tuple(node.name for node in topology.with_role("primary"))

    def observe(self, event: NodeEvent) -> None:
        return None

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        return {"primary": self._primary}[function]

    def snapshot(self) -> dict[str, Any]:
        return {"primary": list(self._primary)}
