"""Shapes of partitions: who still sees whom."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from harness.shapes import cut_links
from harness.topology import NodeInfo, Topology


def topology(count: int, clients: int = 0) -> Topology:
    nodes = tuple(NodeInfo(f"n{i}", "store", i, 7000 + i) for i in range(1, count + 1))
    return Topology(nodes, tuple(f"client-{i}" for i in range(clients)))


def names(t: Topology) -> list[str]:
    return [n.name for n in t.nodes]


def sees(t: Topology, links: tuple[tuple[str, str], ...], node: str) -> set[str]:
    """With whom a TCP connection works: both directions whole."""
    return {o for o in names(t) if o == node or not {(node, o), (o, node)} & set(links)}


def test_isolate_cuts_a_target_from_everybody_and_leaves_the_others_alone() -> None:
    t = topology(3, clients=1)
    links = cut_links(["n1"], t, {"shape": "isolate"}, random.Random(0))
    assert set(links) == {("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n1")}


def test_clients_are_cut_only_when_asked() -> None:
    t = topology(2, clients=1)
    links = cut_links(["n1"], t, {"clients": True}, random.Random(0))
    assert {("n1", "client-0"), ("client-0", "n1")} <= set(links)
    assert ("client-0", "n2") not in links


def test_direction_is_seen_from_the_target() -> None:
    t = topology(2)
    assert cut_links(["n1"], t, {"direction": "out"}, random.Random(0)) == (("n1", "n2"),)
    assert cut_links(["n1"], t, {"direction": "in"}, random.Random(0)) == (("n2", "n1"),)


def test_a_client_host_loses_its_links_to_all_nodes() -> None:
    t = topology(2, clients=2)
    links = cut_links(["client-0"], t, {"direction": "out"}, random.Random(0))
    assert set(links) == {("client-0", "n1"), ("client-0", "n2")}


def test_peers_are_the_nodes_of_the_same_role() -> None:
    t = Topology(
        (
            NodeInfo("b1", "broker", 1, 1),
            NodeInfo("b2", "broker", 2, 2),
            NodeInfo("c1", "controller", 3, 3),
        )
    )
    links = cut_links(["b1"], t, {"shape": "peers"}, random.Random(0))
    assert set(links) == {("b1", "b2"), ("b2", "b1")}


@given(st.integers(2, 9), st.integers())
def test_halves_of_everybody_are_two_groups_that_do_not_meet(count: int, seed: int) -> None:
    t = topology(count)
    links = cut_links(names(t), t, {"shape": "halves"}, random.Random(seed))
    groups = {frozenset(sees(t, links, n)) for n in names(t)}
    assert len(groups) == 2
    assert sorted(len(g) for g in groups) == [count // 2, count - count // 2]


def test_halves_of_everybody_leave_the_clients_one_side() -> None:
    t = topology(4, clients=1)
    links = cut_links(names(t), t, {"shape": "halves", "clients": True}, random.Random(0))
    assert len([link for link in links if link[0] == "client-0"]) == 2


@given(st.integers(3, 9), st.integers())
def test_a_bridge_is_the_only_node_that_sees_both_sides(count: int, seed: int) -> None:
    t = topology(count)
    links = cut_links(names(t), t, {"shape": "bridge"}, random.Random(seed))
    [bridge] = [n for n in names(t) if len(sees(t, links, n)) == count]
    rest = {frozenset(sees(t, links, n) - {bridge}) for n in names(t) if n != bridge}
    assert len(rest) == 2


@given(st.integers(3, 9), st.integers())
def test_in_a_ring_everybody_sees_a_majority_and_not_the_same_one(count: int, seed: int) -> None:
    t = topology(count)
    links = cut_links(names(t), t, {"shape": "ring"}, random.Random(seed))
    assert links
    views = [frozenset(sees(t, links, n)) for n in names(t)]
    assert all(len(v) > count // 2 for v in views)
    assert len(set(views)) == count


def test_a_node_can_lose_its_clients_alone() -> None:
    t = topology(3, clients=2)
    links = cut_links(["n1"], t, {"shape": "clients", "direction": "in"}, random.Random(0))
    assert links == (("client-0", "n1"), ("client-1", "n1"))
