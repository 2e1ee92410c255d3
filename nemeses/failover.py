"""Failover by promotion: the primary dies, a standby takes its place, and the old primary comes back as a standby.

For systems in which somebody must say so (`promote`), as an operator or a cluster manager does. The primary is dead
before anybody is promoted: two primaries are another test, and no system that is told to have two of them stays whole.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import PROMOTE, Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, episodes


class Failover:
    description = (
        "the primary is killed, perhaps after it was cut off from its standbys, and one of them is promoted; the old "
        "primary returns as a standby"
    )
    needs = frozenset({"kill", "partition", PROMOTE})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: _episode(aim), quiet_ms=Range(3_000, 6_000))


def _episode(aim: Aim) -> list[Fault]:
    """Promoted soon after the death, long before the old primary could be back. A standby that was cut off lacks what
    the primary acknowledged meanwhile, unless the primary waits for it; what was sent would still arrive if the cut
    healed before the promotion."""
    group = aim.partition()
    primary, standby = (
        (f"leader({group})", f"one-of(followers({group}))") if group else (aim.any_data_node,) * 2
    )
    alone_ms = aim.rng.choice((0, aim.rng.randint(500, 1_500)))
    noticed_ms = alone_ms + aim.rng.randint(200, 800)
    down_ms = aim.rng.randint(3_000, 5_000)
    params = {"shape": "peers", "direction": "both", "how": "drop", "clients": False}
    cut = Fault(at_ms=0, kind="partition", selector=primary, duration_ms=noticed_ms + 500, params=params)
    return [
        *([cut] if alone_ms else ()),
        Fault(at_ms=alone_ms, kind="kill", selector=primary, duration_ms=down_ms),
        Fault(at_ms=noticed_ms, kind=PROMOTE, selector=standby, duration_ms=2_000),
    ]
