"""Clients against a simulated quorum store, each of them at a node of its choice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from harness.cluster import Evidence
from harness.clusters.sim import SimBackend
from harness.settings import resolve
from harness.sim.settings import SETTINGS as SIM_SETTINGS
from harness.system import Change
from harness.topology import Topology
from systems.quorum.ring import Ring
from systems.quorum.settings import PROFILES
from systems.quorum.system import QuorumSystem

T = TypeVar("T")
LIMIT_S = 300.0


class Simulated:
    """`inside` are the three nodes that keep the key `k`, `outside` the others."""

    def __init__(self, cluster: Any, system: QuorumSystem, config: dict[str, Any]) -> None:
        self.cluster = cluster
        self._system = system
        self._config = config
        names = [node.name for node in cluster.topology.founders]
        walk = Ring(names, vnodes=config["ring.vnodes"]).walk("k")
        self.inside, self.outside = walk[:3], walk[3:]

    def at(
        self, node: str, work: Callable[[Any], Coroutine[Any, Any, T]], what: str = "key-value"
    ) -> Awaitable[T]:
        """`work` with a client of its own, connected to that node."""
        place = [n.name for n in self.cluster.topology.nodes].index(node)
        host = f"k{place}"
        client = self._system.client(what, self.cluster, host, self._config)

        async def whole() -> T:
            try:
                return await work(client)
            finally:
                await client.close()

        result: Awaitable[T] = self.cluster.client_host(host).spawn(whole())
        return result

    async def put(self, node: str, value: Any) -> Any:
        return await self.at(node, lambda client: client.put("k", value))

    async def get(self, node: str) -> Any:
        return (await self.at(node, lambda client: client.get("k"))).value

    async def delete(self, node: str) -> None:
        await self.at(node, lambda client: client.delete("k"))

    async def slow(self, source: str, *targets: str, latency_ms: float) -> None:
        for target in targets:
            await self.cluster.degrade(source, target, latency_ms=latency_ms, jitter_ms=0.0)

    async def part(self, one: str, *others: str) -> None:
        for other in others:
            await self.cluster.cut(one, other, how="drop")
            await self.cluster.cut(other, one, how="drop")

    async def join(self, one: str, *others: str) -> None:
        for other in others:
            await self.cluster.heal(one, other)
            await self.cluster.heal(other, one)

    async def change(self, change: Change, node: str, replaced: str | None = None) -> Evidence:
        """As faults do it: who comes is launched first, who leaves is retired afterwards, who is replaced before."""
        if replaced is not None:
            await self.cluster.retire(replaced)
        if change != "leave":
            await self.cluster.launch(node)
        told = await self._system.administer(self.cluster, change, node, replaced=replaced)
        if change == "leave" and told.verified:
            await self.cluster.retire(node)
        return told

    async def wiped(self, node: str) -> None:
        await self.cluster.kill(node)
        await self.cluster.wipe(node)
        await self.cluster.restart(node)

    async def recovered(self) -> None:
        await self._system.recovered(self.cluster)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event.fields for event in self.cluster.events if event.kind == kind]


def simulate(
    work: Callable[[Simulated], Awaitable[T]],
    *,
    nodes: int = 5,
    spares: int = 0,
    profile: str = "abd",
    bugs: frozenset[str] = frozenset(),
    seed: int = 1,
    **given: Any,
) -> T:
    """Runs `work` against a cluster that is ready."""
    system = QuorumSystem()
    settings = {**PROFILES[profile], **{name.replace("_", "."): value for name, value in given.items()}}
    config = dict(resolve((*system.settings, *SIM_SETTINGS), settings))
    all_nodes = tuple(
        msgspec.structs.replace(node, spare=place >= nodes)
        for place, node in enumerate(system.nodes(nodes + spares, config))
    )
    topology = Topology(all_nodes, clients=tuple(f"k{n}" for n in range(nodes + spares)))
    system.validate(topology, config)

    async def scenario(cluster: Any) -> T:
        await cluster.start()
        async with asyncio.timeout(LIMIT_S):
            await system.ready(cluster)
            return await work(Simulated(cluster, system, config))

    return SimBackend().run(
        scenario, system=system, topology=topology, config=config, bugs=bugs, seed=seed, folder=None
    )
