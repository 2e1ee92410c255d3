"""Slow links: latency and jitter, on every link of some nodes, on chosen directed ones, or for single kinds of messages.

Nothing is cut and nothing is lost, but what is slow is overtaken by what is not: a write that reaches one replica now
and the others late is read by one client and missed by the next (S12).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import MESSAGE_KINDS, Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

LATENCIES_MS = (20, 50, 100, 200, 400, 800)
EVERYWHERE_MS = 200
"""Above this latency on every link no session timeout would hold: one node at a time."""


class Slow:
    description = "latency and jitter on the links of one node or of all"
    needs = frozenset({"slow"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_one(aim)], quiet_ms=Range(1_000, 4_000))


def _one(aim: Aim) -> Fault:
    latency_ms = aim.rng.choice(LATENCIES_MS)
    target = draw(
        aim.rng,
        (
            (3, aim.any_data_node),
            (3, aim.leader()),
            (2, aim.coordinator()),
            (2 if aim.controller else 0, "controller"),
            (2 if latency_ms <= EVERYWHERE_MS else 0, "all"),
        ),
    )
    return Fault(
        at_ms=0,
        kind="slow",
        selector=target,
        duration_ms=aim.rng.randint(3_000, 10_000),
        params={"latency_ms": latency_ms, "jitter_ms": latency_ms // aim.rng.choice((4, 2, 1))},
    )


class SlowLinks:
    description = "latency on the links between one node and a few others, often one way only"
    needs = frozenset({"slow"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_between(aim)], quiet_ms=Range(1_000, 3_000))


class SlowMessages:
    description = "single kinds of messages between nodes are late, on all links of a node or on a few (S12)"
    needs = frozenset({"slow", MESSAGE_KINDS})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        """Where the system does not name its messages, all of them are late."""
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_kinds(aim)], quiet_ms=Range(500, 2_000))


def _between(aim: Aim) -> Fault:
    target = draw(
        aim.rng, ((3, aim.any_data_node), (3, aim.leader()), (1 if aim.controller else 0, "controller"))
    )
    other = draw(
        aim.rng,
        (
            (3 if aim.replicated else 0, aim.data_nodes),
            (1 if aim.clients else 0, "clients"),
            (1, "one-of(all)"),
        ),
    )
    latency_ms = aim.rng.choice(LATENCIES_MS)
    return Fault(
        at_ms=0,
        kind="slow",
        selector=target,
        duration_ms=aim.rng.randint(2_000, 8_000),
        params={
            "latency_ms": latency_ms,
            "jitter_ms": latency_ms // aim.rng.choice((4, 2, 1)),
            "to": other,
            "direction": draw(aim.rng, ((2, "out"), (2, "in"), (1, "both"))),
        },
    )


def _kinds(aim: Aim) -> Fault:
    latency_ms = aim.rng.choice(LATENCIES_MS)
    params: dict[str, Any] = {
        "latency_ms": latency_ms,
        "jitter_ms": latency_ms * aim.rng.choice((0, 1, 1)),
        "direction": draw(aim.rng, ((3, "out"), (1, "in"), (2, "both"))),
    }
    known = aim.message_kinds
    if known:
        params["kinds"] = aim.rng.sample(known, aim.rng.choice((1, 1, min(2, len(known)))))
    if aim.replicated and aim.rng.choice((True, False)):
        params["to"] = f"minority({aim.data_nodes})" if aim.rng.choice((True, False)) else aim.any_data_node
    target = draw(aim.rng, ((3, aim.any_data_node), (1 if aim.controller else 0, "controller"), (1, "all")))
    return Fault(
        at_ms=0, kind="slow", selector=target, duration_ms=aim.rng.randint(2_000, 8_000), params=params
    )
