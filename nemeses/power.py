"""Power loss: a node dies and loses what it had not fsynced; the last write may be torn.

The safe configuration tolerates min.insync.replicas - 1 lossy crashes at a time, so `power` takes one node
at a time and leaves time to catch up in between. `power-all` takes everything at once, which only
synchronous flushing survives.
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


class Power:
    description = (
        "power loss of one node at a time: leader, random, and the last member of a shrunk ISR (S2, S4)"
    )
    needs = frozenset({"power", "partition"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: _episode(aim), quiet_ms=CATCH_UP_MS)


class PowerAll:
    description = "power loss of all nodes at once, again and again: only what was fsynced survives"
    needs = frozenset({"power"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_everything(aim)], quiet_ms=CATCH_UP_MS)


def _episode(aim: Aim) -> list[Fault]:
    partition = aim.partition() if aim.replicated else None
    down_ms = aim.rng.randint(500, aim.session_timeout_ms + 3_000)
    kind = draw(
        aim.rng,
        (
            (3, "leader"),
            (2, "random"),
            (1 if aim.controller else 0, "controller"),
            (6 if partition else 0, "last-in-sync"),
        ),
    )
    match kind:
        case "leader":
            return [_power_loss(aim, aim.leader(), down_ms)]
        case "random":
            return [_power_loss(aim, aim.any_data_node, down_ms)]
        case "controller":
            return [_power_loss(aim, "controller", down_ms)]
        case _:
            return _last_in_sync(aim, partition or "", down_ms)


def _everything(aim: Aim) -> Fault:
    target = aim.rng.choice((aim.data_nodes, "all"))
    return _power_loss(aim, target, aim.rng.randint(500, 5_000))


def _power_loss(aim: Aim, selector: str, down_ms: int, *, at_ms: int = 0) -> Fault:
    return Fault(
        at_ms=at_ms,
        kind="power",
        selector=selector,
        duration_ms=down_ms,
        params={"torn": aim.rng.choice((False, True))},
    )


def _last_in_sync(aim: Aim, partition: str, down_ms: int) -> list[Fault]:
    """S2 and S4: the leader is cut from its peers until it is the whole ISR; then its power fails.

    The cut ends with the power loss, so that another replica can be elected where the rules allow it.
    """
    alone_ms = aim.replica_lag_ms + aim.rng.randint(1_500, 3_500)
    leader = f"leader({partition})"
    cut = {"shape": "peers", "direction": "both", "how": "drop", "clients": False}
    return [
        Fault(at_ms=0, kind="partition", selector=leader, duration_ms=alone_ms + 100, params=cut),
        _power_loss(aim, leader, down_ms, at_ms=alone_ms),
    ]
