"""Disks that fail to serve: full, so that nothing more can be written, or slow, so that every fsync takes long.

A full disk does not end the node by itself: what it does about it (stops, refuses writes, lies) is what is tested.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

LATENCIES_MS = (10, 50, 100, 300, 1_000)
EVERYWHERE_MS = 300
"""Above this latency on every disk no session timeout would hold: one node at a time."""


class DiskFull:
    description = (
        "the disk of the leader, of one node, of a controller or of all data nodes takes nothing more"
    )
    needs = frozenset({"disk-full"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_full(aim)], quiet_ms=Range(3_000, 6_000))


class SlowDisk:
    description = "every fsync of one node or of all takes longer, with jitter"
    needs = frozenset({"slow-disk"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_slow(aim)], quiet_ms=Range(1_000, 4_000))


def _full(aim: Aim) -> Fault:
    target = draw(
        aim.rng,
        (
            (3, aim.leader()),
            (2, aim.any_data_node),
            (2, aim.coordinator()),
            (2 if aim.controller else 0, "controller"),
            (1, aim.data_nodes),
        ),
    )
    duration_ms = aim.rng.randint(1_000, aim.session_timeout_ms + 4_000)
    return Fault(at_ms=0, kind="disk-full", selector=target, duration_ms=duration_ms)


def _slow(aim: Aim) -> Fault:
    latency_ms = aim.rng.choice(LATENCIES_MS)
    target = draw(
        aim.rng,
        (
            (3, aim.leader()),
            (3, aim.any_data_node),
            (2 if aim.controller else 0, "controller"),
            (2 if latency_ms <= EVERYWHERE_MS else 0, "all"),
        ),
    )
    return Fault(
        at_ms=0,
        kind="slow-disk",
        selector=target,
        duration_ms=aim.rng.randint(3_000, 10_000),
        params={"latency_ms": latency_ms, "jitter_ms": latency_ms // aim.rng.choice((4, 2, 1))},
    )
