"""Whom a fault hits at the moment it fires: its selectors resolved among those who belong to the cluster then."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from harness.cluster import Cluster
from harness.schedule import Fault
from harness.selectors import parse, resolve
from harness.shapes import Link, cut_links, links_between, links_of
from harness.system import ClusterView
from harness.topology import Topology

OF_LINKS = frozenset({"partition", "slow", "flaky", "datagrams"})
"""Kinds that concern links."""
_OF_NODES = frozenset({"wipe", "disk-full", "slow-disk", "cpu", "memory", "leave", "replace"})
"""Kinds that client hosts are spared."""


class Aiming:
    def __init__(self, cluster: Cluster, view: ClusterView) -> None:
        self._cluster = cluster
        self._topology = cluster.topology
        self._view = view

    def targets(self, fault: Fault, rng: random.Random) -> tuple[str, ...]:
        """Members and client hosts; for a `join`, spares."""
        targets = self._resolved(fault.selector, rng)
        if fault.kind == "join":
            return self._spares(targets)
        present = list(self._cluster.members)
        if fault.kind not in _OF_NODES:
            present += self._topology.clients
        return tuple(t for t in targets if t in present)

    def links(self, fault: Fault, targets: Sequence[str], rng: random.Random) -> tuple[Link, ...]:
        """The links that it concerns; none where its kind is not one of links."""
        if fault.kind not in OF_LINKS:
            return ()
        links = self._links(fault, targets, rng)
        if fault.params.get("kinds"):
            # Messages of these kinds pass between nodes only.
            clients = self._topology.clients
            return tuple(link for link in links if not any(end in clients for end in link))
        return links

    def _links(self, fault: Fault, targets: Sequence[str], rng: random.Random) -> tuple[Link, ...]:
        direction = str(fault.params.get("direction", "both"))
        if to := fault.params.get("to"):
            return links_between(targets, self._resolved(str(to), rng), direction)
        if fault.kind == "partition":
            return cut_links(targets, self._present(), fault.params, rng)
        return links_of(targets, self._present(), direction)

    def successors(self, fault: Fault, lost: Sequence[str], rng: random.Random) -> list[tuple[str, str]]:
        """Who takes whose place; as many as there are spares."""
        by = self._resolved(str(fault.params.get("by", "one-of(spares)")), rng)
        return list(zip(lost, self._spares(by), strict=False))

    def _resolved(self, selector: str, rng: random.Random) -> tuple[str, ...]:
        now = self._present()
        return resolve(parse(selector, now), now, self._view, rng)

    def _present(self) -> Topology:
        """The topology with everybody a spare who is no member now."""
        members = self._cluster.members
        if all(node.spare != (node.name in members) for node in self._topology.nodes):
            return self._topology
        nodes = [msgspec.structs.replace(n, spare=n.name not in members) for n in self._topology.nodes]
        return msgspec.structs.replace(self._topology, nodes=tuple(nodes))

    def _spares(self, nodes: Sequence[str]) -> tuple[str, ...]:
        members = self._cluster.members
        return tuple(n for n in nodes if n not in members and n not in self._topology.clients)
