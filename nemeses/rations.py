"""Machines that have too little to give: a fraction of a processor, or no more memory than now.

A node that is starved of processor time is not dead: it answers late, renews its leases late, and acts on what it
decided long ago. One that gets no memory is killed by the kernel in the middle of whatever it does.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

CORES = (0.02, 0.05, 0.1, 0.2)
MORE_MB = (0, 1, 4)


class ScarceCpu:
    description = "the leader, one node or the controller gets a fraction of a processor"
    needs = frozenset({"cpu"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_starved(aim)], quiet_ms=Range(2_000, 5_000))


class ScarceMemory:
    description = "the leader or one node gets no more memory, and is killed when it asks for it"
    needs = frozenset({"memory"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_squeezed(aim)], quiet_ms=Range(3_000, 6_000))


def _starved(aim: Aim) -> Fault:
    target = draw(
        aim.rng,
        ((3, aim.leader()), (3, aim.any_data_node), (2 if aim.controller else 0, "controller")),
    )
    duration_ms = aim.rng.randint(2_000, aim.session_timeout_ms + 4_000)
    params = {"cores": aim.rng.choice(CORES)}
    return Fault(at_ms=0, kind="cpu", selector=target, duration_ms=duration_ms, params=params)


def _squeezed(aim: Aim) -> Fault:
    target = draw(aim.rng, ((3, aim.leader()), (2, aim.any_data_node)))
    duration_ms = aim.rng.randint(2_000, aim.session_timeout_ms + 4_000)
    params = {"more_mb": aim.rng.choice(MORE_MB)}
    return Fault(at_ms=0, kind="memory", selector=target, duration_ms=duration_ms, params=params)
