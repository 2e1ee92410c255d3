"""Datagrams that get lost, arrive twice or in another order. Streams do not notice."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

RATES = (0.1, 0.3, 0.6)


class Datagrams:
    description = "datagrams are lost, doubled or reordered, on the links of one node or of all"
    needs = frozenset({"datagrams"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_one(aim)], quiet_ms=Range(1_000, 4_000))


def _one(aim: Aim) -> Fault:
    what = draw(
        aim.rng,
        (
            (2, ("loss",)),
            (1, ("duplicate",)),
            (1, ("reorder",)),
            (2, ("loss", "duplicate", "reorder")),
        ),
    )
    return Fault(
        at_ms=0,
        kind="datagrams",
        selector=draw(aim.rng, ((2, aim.any_data_node), (2, "all"))),
        duration_ms=aim.rng.randint(3_000, 10_000),
        params={name: aim.rng.choice(RATES) for name in what},
    )
