"""The links between clients, which are tasks of the harness, and nodes: proxies on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from harness.clusters.links import Links
from harness.node import Address


class ClientLinks(Links):
    """A client reaches a node by any address that the node is known by, over the link of the two."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._places: dict[Address, tuple[str, Address]] = {}
        self._proxies: dict[tuple[str, Address], asyncio.Future[Address]] = {}

    def knows(self, node: str, places: Mapping[Address, Address]) -> None:
        """`places`: what the node is known by -> where it is reached from this machine."""
        self._places.update({known: (node, place) for known, place in places.items()})

    async def route(self, client: str, address: Address) -> Address:
        """What a client dials in place of an address (`harness.clusters.client_tasks`); the address itself where it is
        of no node."""
        if address not in self._places:
            return address
        node, place = self._places[address]
        if (client, place) not in self._proxies:
            self._proxies[client, place] = asyncio.ensure_future(self.open(client, node, place))
        return await self._proxies[client, place]
