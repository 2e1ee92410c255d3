"""Unclean election, step by step (S3): a replica that fell behind is all that is left, and it is asked to lead.

Without `unclean.leader.election.enable` the partition has to wait for a member of its ISR and nothing is
lost. With it the stale replica leads, new records take the offsets of those it never saw, and the
others truncate to it when they return.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, episodes

ELECTION_MS = 1_000


class Unclean:
    description = "a follower stalls out of the ISR, the ISR dies, the stale one returns alone (S3); repeated"
    needs = frozenset({"pause", "partition", "kill"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: _episode(aim), quiet_ms=Range(4_000, 7_000))


def _episode(aim: Aim) -> list[Fault]:
    partition = aim.partition()
    until_elected_ms = aim.session_timeout_ms + ELECTION_MS
    if partition is None or not aim.replicated:
        return [Fault(at_ms=0, kind="kill", selector=aim.data_nodes, duration_ms=until_elected_ms)]
    behind_ms = aim.replica_lag_ms + 1_000
    death_ms = behind_ms + aim.rng.randint(1_000, 2_000)
    down_ms = until_elected_ms + aim.rng.randint(2_000, 4_000)
    return [
        _stall(aim, f"one-of(followers({partition}))", death_ms + 300),
        Fault(at_ms=death_ms, kind="kill", selector=f"isr({partition})", duration_ms=down_ms),
    ]


def _stall(aim: Aim, selector: str, duration_ms: int) -> Fault:
    """Stopped, or cut from everything; either way it leaves the ISR and does not know what it misses."""
    if aim.rng.choice((True, False)):
        return Fault(at_ms=0, kind="pause", selector=selector, duration_ms=duration_ms)
    cut = {"shape": "isolate", "direction": "both", "how": "drop", "clients": False}
    return Fault(at_ms=0, kind="partition", selector=selector, duration_ms=duration_ms, params=cut)
