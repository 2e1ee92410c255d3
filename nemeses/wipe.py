"""Lost disks: a node dies and comes back with nothing, under its old name.

One node at a time, with time to catch up in between: a system that keeps each acknowledged write on a majority
survives that. Nodes that agree by majority (controllers) are spared: a voter without its memory may vote twice,
which no consensus protocol survives.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

CATCH_UP_MS = Range(7_000, 10_000)


class Wipe:
    description = (
        "one node at a time dies and comes back with an empty disk: leader or random, sooner or later"
    )
    needs = frozenset({"wipe"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_one(aim)], quiet_ms=CATCH_UP_MS)


def _one(aim: Aim) -> Fault:
    """Back before anybody misses it, or long after."""
    target = draw(aim.rng, ((3, aim.leader()), (3, aim.any_data_node)))
    percent = draw(aim.rng, ((2, Range(120, 250)), (1, Range(10, 60)))).draw(aim.rng)
    duration_ms = aim.session_timeout_ms * percent // 100
    return Fault(at_ms=0, kind="wipe", selector=target, duration_ms=duration_ms)
