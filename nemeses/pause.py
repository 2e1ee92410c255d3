"""Stalled processes (SIGSTOP, a long garbage collection): nothing runs, nothing is lost, and nobody is told.

Short pauses stay below the session timeout; after a long one a node wakes up deposed and does not know it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes


class Pause:
    description = "stalled processes, shorter and longer than the session timeout: leader, coordinator, controller, random, a client"
    needs = frozenset({"pause"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_one(aim)], quiet_ms=Range(2_000, 5_000))


def _one(aim: Aim) -> Fault:
    target = draw(
        aim.rng,
        (
            (4, aim.leader()),
            (3, aim.coordinator()),
            (2 if aim.controller else 0, "controller"),
            (2, aim.any_data_node),
            (2 if aim.clients else 0, "one-of(clients)"),
        ),
    )
    percent = draw(aim.rng, ((2, Range(120, 270)), (1, Range(20, 80)))).draw(aim.rng)
    duration_ms = aim.session_timeout_ms * percent // 100
    return Fault(at_ms=0, kind="pause", selector=target, duration_ms=duration_ms)
