"""Process crashes: what was written to the operating system survives, everything in memory is gone.

Beside single nodes: the whole ISR at once or one after the other, a leader that dies while its followers
lag (S1, with the followers stalled instead of cut), and crashes at a named step of a protocol.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

STEPS = (
    "coordinator.prepare_commit.written",
    "coordinator.marker.sent",
    "coordinator.complete.written",
    "group.offsets.committed",
)
"""Fault points at which a crash is most telling; drawn only where the run has coordinators."""


class Kill:
    description = (
        "process crashes: leader, coordinator, controller, random, a client, the whole ISR at once or staggered, "
        "a leader whose followers lag, a crash at a named protocol step"
    )
    needs = frozenset({"kill", "pause"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: _episode(aim), quiet_ms=Range(2_500, 5_000))


def _episode(aim: Aim) -> list[Fault]:
    partition = aim.partition() if aim.replicated else None
    down_ms = aim.rng.randint(1_000, aim.session_timeout_ms + 4_000)
    kind = draw(
        aim.rng,
        (
            (3, "leader"),
            (3, "coordinator"),
            (2 if aim.controller else 0, "controller"),
            (2, "random"),
            (2 if aim.clients else 0, "client"),
            (6 if partition else 0, "leader-ahead"),
            (2 if aim.replicated else 0, "isr-at-once"),
            (2 if partition else 0, "isr-staggered"),
            (4 if aim.topology.subjects.get("coordinator") else 0, "at-step"),
        ),
    )
    match kind:
        case "leader":
            return [_kill(aim.leader(), down_ms)]
        case "coordinator":
            return [_kill(aim.coordinator(), down_ms)]
        case "controller":
            return [_kill("controller", down_ms)]
        case "random":
            return [_kill(aim.any_data_node, down_ms)]
        case "client":
            return [_kill("one-of(clients)", 1)]
        case "isr-at-once":
            return [_kill(aim.isr(), down_ms)]
        case "leader-ahead":
            return _leader_ahead(aim, partition or "")
        case "isr-staggered":
            return _isr_staggered(aim, partition or "", down_ms)
        case _:
            return [_crash_at(aim, aim.rng.choice(STEPS), down_ms)]


def _kill(selector: str, down_ms: int, *, at_ms: int = 0) -> Fault:
    return Fault(at_ms=at_ms, kind="kill", selector=selector, duration_ms=down_ms)


def _leader_ahead(aim: Aim, partition: str) -> list[Fault]:
    """S1: the followers stall, the leader acknowledges alone, and dies before its ISR has shrunk."""
    alone_ms = aim.replica_lag_ms * aim.rng.randint(4, 8) // 10
    down_ms = aim.session_timeout_ms + aim.rng.randint(1_500, 4_000)
    return [
        Fault(at_ms=0, kind="pause", selector=f"followers({partition})", duration_ms=alone_ms + 200),
        _kill(f"leader({partition})", down_ms, at_ms=alone_ms),
    ]


def _isr_staggered(aim: Aim, partition: str, down_ms: int) -> list[Fault]:
    """The leader first, the rest of the ISR while it is still being missed, or just after a successor leads."""
    gap_ms = aim.rng.randint(1, aim.session_timeout_ms + 2_000)
    return [
        _kill(f"leader({partition})", gap_ms + down_ms),
        _kill(f"isr({partition})", down_ms, at_ms=gap_ms),
    ]


def _crash_at(aim: Aim, step: str, armed_ms: int) -> Fault:
    return Fault(
        at_ms=0, kind="crash-at", selector=aim.data_nodes, duration_ms=armed_ms, params={"step": step}
    )
