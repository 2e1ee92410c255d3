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
    """Returns when every node knows the same ring, in which nothing changes, and all its members to be alive, and every
    range of consensus has a leader."""
    while True:
        states = await _states(cluster)
        told = [s for s in states if s is not None]
        led = {number for s in told for number in s.leads}
        if len(told) == len(states) and len({s.epoch for s in told}) == 1:
            members = set(told[0].members)
            if all(
                not s.changing and set(s.alive) == members and (len(led) == s.ranges or not s.serving)
                for s in told
            ):
                return
        await asyncio.sleep(POLL_S)


async def whole(cluster: Cluster) -> None:
    """Besides, no hint waits, and rounds of anti-entropy have found nothing to repair."""
    while True:
        await serving(cluster)
        before = await _members(cluster)
        if len(before) == 1 or not all(state is not None and state.comparing for state in before):
            if not any(state is None or state.hints for state in before):
                return
            await asyncio.sleep(POLL_S)
            continue
        while True:
            await asyncio.sleep(POLL_S)
            now = await _members(cluster)
            if len(now) != len(before) or any(
                b is None or n is None or n.rounds < b.rounds for b, n in zip(before, now, strict=True)
            ):
                break
            pairs = [(b, n) for b, n in zip(before, now, strict=True) if b is not None and n is not None]
            if all(n.rounds >= b.rounds + ROUNDS for b, n in pairs):
                if not any(n.hints or n.differing or n.moving for _, n in pairs):
                    return
                break


async def _members(cluster: Cluster) -> list[State | None]:
    """Without those that answer and have no part in the ring."""
    return [state for state in await _states(cluster) if state is None or state.serving]


async def _states(cluster: Cluster) -> list[State | None]:
    host = cluster.client_host(PROBE_HOST)
    asked = [host.spawn(_state(cluster, name)) for name in cluster.members]
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
