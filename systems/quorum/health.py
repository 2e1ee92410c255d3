"""Whether the cluster serves, and whether it is whole, asked from outside."""

from __future__ import annotations

import asyncio

from harness.cluster import Cluster
from systems.quorum.messages import CODEC, Probe, State
from systems.rpc import Link

PROBE_HOST = "health-probe"
TIMEOUT_MS = 1000
POLL_S = 0.2
ROUNDS = 2
"""Of anti-entropy with every peer, after everybody sees everybody: the first brings what was missing."""


async def serving(cluster: Cluster) -> None:
    """Returns when every node knows every other one to be alive, and every range of consensus has a leader."""
    names = {node.name for node in cluster.topology.nodes}
    while True:
        states = await _states(cluster)
        told = [s for s in states if s is not None]
        led = {number for s in told for number in s.leads}
        if len(told) == len(states) and all(set(s.alive) == names and len(led) == s.ranges for s in told):
            return
        await asyncio.sleep(POLL_S)


async def whole(cluster: Cluster) -> None:
    """Besides, no hint waits, and rounds of anti-entropy have found nothing to repair."""
    while True:
        await serving(cluster)
        before = await _states(cluster)
        if len(before) == 1 or not all(state is not None and state.comparing for state in before):
            if not any(state is None or state.hints for state in before):
                return
            await asyncio.sleep(POLL_S)
            continue
        while True:
            await asyncio.sleep(POLL_S)
            now = await _states(cluster)
            if any(b is None or n is None or n.rounds < b.rounds for b, n in zip(before, now, strict=True)):
                break
            pairs = [(b, n) for b, n in zip(before, now, strict=True) if b is not None and n is not None]
            if all(n.rounds >= b.rounds + ROUNDS for b, n in pairs):
                if not any(n.hints or n.differing or n.moving for _, n in pairs):
                    return
                break


async def _states(cluster: Cluster) -> list[State | None]:
    host = cluster.client_host(PROBE_HOST)
    asked = [host.spawn(_state(cluster, node.name)) for node in cluster.topology.nodes]
    return list(await asyncio.gather(*asked))


async def _state(cluster: Cluster, node: str) -> State | None:
    link = Link(cluster.address(node, client=PROBE_HOST), CODEC)
    try:
        state: State = await link.call(Probe(), timeout_ms=TIMEOUT_MS)
        return state
    except (OSError, TimeoutError):
        return None
    finally:
        link.close()
