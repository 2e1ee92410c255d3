"""Flaky links: packets are lost, or there is little bandwidth. Streams lose nothing by it but time."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

LOSSES = (0.01, 0.05, 0.1, 0.3)
EVERYWHERE = 0.05
"""Above this loss on every link nobody would be heard in time: one node at a time."""
BANDWIDTHS_KBPS = (200, 1_000, 5_000)


class Flaky:
    description = "links that lose packets or carry little: of one node or of all, both ways or one"
    needs = frozenset({"flaky"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_one(aim)], quiet_ms=Range(1_000, 4_000))


def _one(aim: Aim) -> Fault:
    params: dict[str, Any] = {}
    what = draw(aim.rng, ((3, "loss"), (1, "bandwidth"), (1, "both")))
    if what != "bandwidth":
        params["loss"] = aim.rng.choice(LOSSES)
    if what != "loss":
        params["bandwidth_kbps"] = aim.rng.choice(BANDWIDTHS_KBPS)
    params["direction"] = draw(aim.rng, ((4, "both"), (1, "in"), (1, "out")))
    target = draw(
        aim.rng,
        (
            (3, aim.any_data_node),
            (3, aim.leader()),
            (2, aim.coordinator()),
            (2 if aim.controller else 0, "controller"),
            (2 if params.get("loss", 0) <= EVERYWHERE else 0, "all"),
            (1 if aim.clients else 0, "clients"),
        ),
    )
    return Fault(
        at_ms=0,
        kind="flaky",
        selector=target,
        duration_ms=aim.rng.randint(3_000, 10_000),
        params=params,
    )
