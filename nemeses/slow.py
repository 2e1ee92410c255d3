"""Slow links: latency and jitter on every link of some nodes; nothing is cut and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
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
