"""Shapes of a partition: which directed links are cut. Pure functions."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from harness.topology import Topology

Link = tuple[str, str]
"""Source, target."""

SHAPES = ("isolate", "halves", "ring", "bridge", "peers", "clients")
DIRECTIONS = ("both", "out", "in")
HOWS = ("drop", "reject", "hold")


def cut_links(
    targets: Sequence[str], topology: Topology, params: dict[str, Any], rng: random.Random
) -> tuple[Link, ...]:
    """The links that a partition cuts, in a fixed order without repetition.

    `isolate`: each target from every other node. `halves`: the targets from the rest (where the targets
    are everybody, a random half, now the targets, from the other). `peers`: the targets from the nodes of their own role.
    `clients`: the targets from the client hosts only.
    `bridge`: two halves that only one node still reaches: the target, or one of several.
    `ring`: each of the targets sees a majority of them and no two see the same one.
    `direction` is seen from the targets; a bridge and a ring cut both ways. `clients` cuts the targets
    from the client hosts too. A client host as target loses its links to all nodes (`isolate`, `halves`).
    Spares take no part.
    """
    shape = params.get("shape", "isolate")
    direction = params.get("direction", "both")
    nodes = [node.name for node in topology.founders]
    servers = [name for name in targets if name in nodes]
    clients = [name for name in targets if name in topology.clients]
    links: list[Link] = []
    match shape:
        case "isolate":
            for target in servers:
                links += _between([target], [n for n in nodes if n != target], direction)
        case "halves":
            servers, rest = _halves(servers, nodes, rng)
            links += _between(servers, rest, direction)
        case "peers":
            for target in servers:
                role = topology.named(target).role
                peers = [n.name for n in topology.founders if n.role == role and n.name not in servers]
                links += _between([target], peers, direction)
        case "clients":
            links += _between(servers, topology.clients, direction)
        case "bridge":
            links += _bridge(servers, nodes, rng)
        case "ring":
            links += _ring(servers, rng)
        case _:
            raise AssertionError(shape)
    if params.get("clients", False):
        links += _between(servers, topology.clients, direction)
    links += _between(clients, nodes, direction)
    return tuple(dict.fromkeys(links))


def links_of(targets: Iterable[str], topology: Topology, direction: str) -> tuple[Link, ...]:
    """All links of these nodes, those to client hosts included; of a client host, those to all nodes."""
    nodes = [node.name for node in topology.founders]
    links: list[Link] = []
    for target in targets:
        others = [*nodes, *topology.clients] if target in nodes else nodes
        links += _between([target], [other for other in others if other != target], direction)
    return tuple(dict.fromkeys(links))


def links_between(targets: Iterable[str], others: Iterable[str], direction: str) -> tuple[Link, ...]:
    """The links between two groups; whoever is in both does not link to itself."""
    links = _between(targets, others, direction)
    return tuple(dict.fromkeys(link for link in links if link[0] != link[1]))


def _between(side: Iterable[str], rest: Iterable[str], direction: str) -> list[Link]:
    others = list(rest)
    links: list[Link] = []
    for one in side:
        for other in others:
            if direction in ("both", "out"):
                links.append((one, other))
            if direction in ("both", "in"):
                links.append((other, one))
    return links


def _halves(targets: Sequence[str], nodes: Sequence[str], rng: random.Random) -> tuple[list[str], list[str]]:
    rest = [name for name in nodes if name not in targets]
    if rest:
        return list(targets), rest
    shuffled = rng.sample(list(targets), len(targets))
    middle = len(shuffled) // 2
    return shuffled[:middle], shuffled[middle:]


def _bridge(targets: Sequence[str], nodes: Sequence[str], rng: random.Random) -> list[Link]:
    if not targets:
        return []
    bridge = rng.choice(list(targets))
    around = [name for name in (nodes if len(targets) == 1 else targets) if name != bridge]
    side, rest = _halves(around, around, rng)
    return _between(side, rest, "both")


def _ring(targets: Sequence[str], rng: random.Random) -> list[Link]:
    """Jepsen's majorities-ring, made symmetric: a TCP connection needs both directions, so that a window
    of odd size around each node is what it can talk to. Three nodes have no such ring; theirs is a chain."""
    count = len(targets)
    ring = rng.sample(list(targets), count)
    if count == 3:
        return _between(ring[:1], ring[2:], "both")
    majority = count // 2 + 1
    reach = (majority + 1) // 2 if majority % 2 == 0 else majority // 2
    links: list[Link] = []
    for i, node in enumerate(ring):
        for j, other in enumerate(ring):
            distance = min((i - j) % count, (j - i) % count)
            if distance > reach:
                links.append((node, other))
    return links
