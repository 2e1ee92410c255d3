"""The links of a cluster of containers, and what can be done to each direction of them.

Between nodes, packets are dropped by the firewall of whoever receives them, and slow by netem on the way out; where the
kernel has no netem, proxies in the sandbox of whoever dialled stand in. Clients are tasks of the harness: the links
between them and nodes are proxies on this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping

from harness.cluster import Evidence, How
from harness.clusters.docker.node import DockerNode
from harness.clusters.links import Links
from harness.clusters.netem import Quality
from harness.clusters.probes import Firewalls
from harness.node import Address


class DockerLinks:
    def __init__(self, clients: Collection[str], seed: int) -> None:
        self._clients = clients
        self._nodes: Mapping[str, DockerNode] = {}
        self._of_clients = Links(seed)
        self._places: dict[Address, tuple[str, Address]] = {}
        self._firewalls = Firewalls()

    async def lay(self, nodes: Mapping[str, DockerNode]) -> None:
        """Their sandboxes are open, and their programs not started."""
        self._nodes = nodes
        for node in nodes.values():
            self._places.update({known: (node.name, place) for known, place in node.places.items()})
        await side_by_side(self._relay(node) for node in nodes.values() if not node.netem)

    async def _relay(self, node: DockerNode) -> None:
        peers = {p.name: (p.address, list(p.ports.values())) for p in self._nodes.values() if p is not node}
        await node.ask("relay", node=node.name, peers=peers)

    def close(self) -> None:
        self._of_clients.close()

    async def route(self, client: str, address: Address) -> Address:
        """What a client dials in place of an address (`harness.clusters.client_tasks`): it reaches a node by whatever
        address the node is known by, over the link of the two. The address itself where it is of no node."""
        if address not in self._places:
            return address
        node, place = self._places[address]
        return await self._of_clients.to(client, node, place)

    def _concerns_client(self, source: str, target: str) -> bool:
        return source in self._clients or target in self._clients

    async def cut(self, source: str, target: str, how: How) -> Evidence:
        if self._concerns_client(source, target):
            connections = self._of_clients.cut(source, target, how)
            return Evidence(True, f"{how} from {source} to {target}, {connections} open connections")
        return await self._firewalls.cut(self._nodes[source], self._nodes[target], how)

    async def heal(self, source: str, target: str) -> Evidence:
        if self._concerns_client(source, target):
            self._of_clients.heal(source, target)
            return Evidence(True, f"{source} reaches {target}")
        return await self._firewalls.heal(self._nodes[source], self._nodes[target])

    async def degrade(self, source: str, target: str, quality: Quality) -> Evidence:
        """Told to both: a connection is in the proxies of whoever dialled it, where proxies have to stand in."""
        if self._concerns_client(source, target):
            self._of_clients.degrade(source, target, **quality._asdict())
            return Evidence(True, "by proxies, as all links of clients")
        sender, receiver = self._nodes[source], self._nodes[target]
        told = {"source": source, "target": target, "quality": quality}
        by = {
            await sender.ask("degrade", address=receiver.address, **told): None,
            await receiver.ask("degrade", address=None, **told): None,
        }
        return Evidence(True, f"by {' and '.join(by)}")


async def side_by_side(work: Iterable[Awaitable[None]]) -> None:
    """Raises the first error, once all have come to an end."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
