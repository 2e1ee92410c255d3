"""Nodes come and go while the cluster serves: a spare joins, a member leaves, a lost machine is replaced.

Spares are there with `--set spares=N`. Without any, members leave and come back as new machines. A change lasts until
the fault's time is over and is then taken back, so that a run sees data move both ways.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes


class Membership:
    description = "a spare joins and leaves again, a member leaves and returns empty, a lost node is replaced"
    needs = frozenset({"join", "leave", "replace"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_one(aim)], quiet_ms=Range(2_000, 5_000))


def _one(aim: Aim) -> Fault:
    spares = any(node.spare for node in aim.topology.nodes)
    members = [node for node in aim.topology.founders if node.role == aim.data_role]
    kind = draw(
        aim.rng,
        (
            (3 if spares else 0, "join"),
            (2 if len(members) > aim.copies else 0, "leave"),
            (2 if spares else 0, "replace"),
            # Nobody to spare: the system is asked all the same, and has to refuse.
            (0 if spares or len(members) > aim.copies else 1, "leave"),
        ),
    )
    return Fault(
        at_ms=0,
        kind=kind,
        selector="one-of(spares)" if kind == "join" else aim.any_data_node,
        duration_ms=aim.rng.randint(4_000, 10_000),
    )
