"""Network partitions: who cannot talk to whom, in which direction, and how the silence sounds.

Beside the classic shapes, three that break particular promises: a leader cut from its peers but not from its
clients goes on acknowledging what nobody else has (acks=1 loses it); a client that hears nothing back
retries what was carried out (without idempotence: twice); requests that are held longer than their client
waits arrive after the client has moved on (S11: a late EndTxn).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

TRANSACTION_COMPLETE = "group.transactional_offsets.pending"
"""Fault point: everything that belongs to a transaction is written, its producer is about to commit it."""

HOW = ((6, "drop"), (1, "reject"), (3, "hold"))


class Partition:
    description = (
        "network partitions: halves, an isolated leader, coordinator or controller, majorities-ring, bridge, "
        "one-way cuts, a leader cut from its peers but not from its clients, clients cut off"
    )
    needs = frozenset({"partition"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        shapes = _shapes(aim)
        return episodes(time_limit_ms, rng, lambda: [next(shapes)(aim)], quiet_ms=Range(3_000, 6_000))


Shape = Callable[[Aim], Fault]


def _shapes(aim: Aim) -> Iterator[Shape]:
    """Directed and classic shapes by turns, so that most runs meet two or all of the directed ones."""
    directed: list[Shape] = [_leader_serving_on]
    if aim.clients:
        directed += [_deaf_clients, _held_requests]
    aim.rng.shuffle(directed)
    turns = itertools.cycle(directed)
    if aim.rng.choice((False, False, True)):
        yield _classic(aim)
    while True:
        yield next(turns)
        yield _classic(aim)


def _classic(aim: Aim) -> Shape:
    return draw(
        aim.rng,
        (
            (3, _isolated_leader),
            (2, _isolated_coordinator),
            (2 if aim.controller else 0, _isolated_controller),
            (2 if aim.replicated else 0, _leader_from_peers),
            (2 if aim.replicated else 0, _halves),
            (1 if aim.replicated else 0, _ring),
            (1 if aim.replicated else 0, _bridge),
            (2, _one_way),
            (1 if aim.clients else 0, _client_cut_off),
        ),
    )


def _cut(
    aim: Aim,
    selector: str,
    *,
    shape: str = "isolate",
    direction: str = "both",
    how: str | None = None,
    clients: bool = False,
    step: str = "",
) -> Fault:
    """Long enough that the other side gives up on who is missing, or the client on its request."""
    patience_ms = max(aim.session_timeout_ms, aim.request_timeout_ms)
    return Fault(
        at_ms=0,
        kind="partition",
        selector=selector,
        duration_ms=patience_ms + aim.rng.randint(1_000, 5_000),
        params={
            "shape": shape,
            "direction": direction,
            "how": how or draw(aim.rng, HOW),
            "clients": clients,
        }
        | ({"step": step} if step else {}),
    )


def _leader_serving_on(aim: Aim) -> Fault:
    """S1: deposed without knowing, it acknowledges to clients what no follower will ever fetch."""
    return _cut(aim, aim.leader())


def _isolated_leader(aim: Aim) -> Fault:
    return _cut(aim, aim.leader(), clients=True)


def _isolated_coordinator(aim: Aim) -> Fault:
    return _cut(aim, aim.coordinator(), clients=aim.rng.choice((False, True)))


def _isolated_controller(aim: Aim) -> Fault:
    return _cut(aim, "controller")


def _leader_from_peers(aim: Aim) -> Fault:
    """Still alive to the controllers: it has the others removed from its ISR."""
    return _cut(aim, aim.leader(), shape="peers")


def _halves(aim: Aim) -> Fault:
    return _cut(aim, "all", shape="halves", clients=aim.rng.choice((False, True)))


def _ring(aim: Aim) -> Fault:
    """Every node sees a majority, no two see the same one."""
    return _cut(aim, aim.rng.choice(("all", aim.data_nodes)), shape="ring")


def _bridge(aim: Aim) -> Fault:
    """Two halves that meet in one node only."""
    return _cut(aim, "all", shape="bridge")


def _one_way(aim: Aim) -> Fault:
    return _cut(
        aim,
        aim.rng.choice((aim.leader(), aim.any_data_node)),
        direction=aim.rng.choice(("in", "out")),
        how=aim.rng.choice(("drop", "hold")),
        clients=aim.rng.choice((False, True)),
    )


def _deaf_clients(aim: Aim) -> Fault:
    """Requests arrive and are carried out; the answers never come."""
    target = aim.rng.choice(("clients", "one-of(clients)"))
    return _cut(aim, target, direction="in", how=aim.rng.choice(("drop", "hold")))


def _held_requests(aim: Aim) -> Fault:
    """S11: what clients sent is delivered after they have given up on it and gone on. Dropped packets are
    sent again by each connection in its own time, so that a retry may overtake the abandoned request. Most of
    a transaction's time nothing is under way that could be late: cut when its end is about to be asked for,
    and only from its coordinator, so that the producer has something to do once it is heard again."""
    if aim.topology.subjects.get("coordinator") and aim.rng.choice((True, True, False)):
        return _cut(
            aim, aim.coordinator(), shape="clients", direction="in", how="drop", step=TRANSACTION_COMPLETE
        )
    target = aim.rng.choice(("clients", "one-of(clients)"))
    return _cut(aim, target, direction="out", how=draw(aim.rng, ((3, "drop"), (1, "hold"))))


def _client_cut_off(aim: Aim) -> Fault:
    return _cut(aim, "one-of(clients)")
