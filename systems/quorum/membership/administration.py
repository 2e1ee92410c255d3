"""The operator's side: a node is told, and asked until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from harness.cluster import Cluster, Evidence
from systems.quorum.membership.messages import Begin, Progress
from systems.quorum.membership.state import Change
from systems.quorum.messages import CODEC
from systems.rpc import Link

HOST = "health-probe"
TIMEOUT_MS = 1_000
POLL_S = 0.2

DONE: dict[str, Callable[[Change], str]] = {
    "join": lambda change: f"{change.node} is in the ring and has its ranges",
    "leave": lambda change: f"{change.node} has handed on its ranges and hints",
    "replace": lambda change: f"{change.node} has taken the place of {change.replaced}",
}


async def changed(cluster: Cluster, change: Change) -> Evidence:
    """Returns when the change is complete, or was refused; the caller sets the time limit."""
    host = cluster.client_host(HOST)
    while True:
        progress: Progress | None = await host.spawn(_told(cluster, change))
        if progress is not None and progress.refused:
            return Evidence(False, progress.refused)
        if progress is not None and progress.done:
            return Evidence(True, DONE[change.kind](change))
        await asyncio.sleep(POLL_S)


async def _told(cluster: Cluster, change: Change) -> Any:
    link = Link(cluster.address(change.node, client=HOST), CODEC)
    try:
        return await link.call(Begin(change), timeout_ms=TIMEOUT_MS)
    except (OSError, TimeoutError):
        return None
    finally:
        link.close()
