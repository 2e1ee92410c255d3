"""Schedules that reach the mistakes of what brings a write to the replicas that missed it: hints, Merkle trees, and the
forgetting of tombstones.

Names of nodes are meant: tokens are made of them, so that the same keys are at the same nodes in every run.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue import Directed
from harness.schedule import Fault, Schedule

NODES = 5


def _fault(kind: str, selector: str, at_ms: int, duration_ms: int, **params: Any) -> Fault:
    return Fault(at_ms=at_ms, kind=kind, selector=selector, duration_ms=duration_ms, params=params)


def _late(kinds: list[str], selector: str, to: str, latency_ms: float, at_ms: int, duration_ms: int) -> Fault:
    """Messages of these kinds, and no others, take so long from the one to the other."""
    return _fault(
        "slow",
        selector,
        at_ms,
        duration_ms,
        latency_ms=latency_ms,
        jitter_ms=0.0,
        kinds=kinds,
        to=to,
        direction="out",
    )


# S15. One replica after the other is away for longer than tombstones are kept.
_SLEEPERS = Schedule((_fault("kill", "n1", 2_000, 3_500), _fault("kill", "n2", 6_500, 3_500)))
# What n5 misses, n1 keeps for it, and dies; when it is back, the deletion that came after is forgotten.
_OLD_HINTS = Schedule((_fault("kill", "n5", 2_000, 2_600), _fault("kill", "n1", 4_400, 5_000)))
# Two nodes keep all that there is for three others; it is on its way to them when they die.
_HINTS_ON_THEIR_WAY = Schedule(
    (
        _fault("kill", "n1+n2+n3", 2_000, 6_500),
        _late(["store"], "n4+n5", "n1+n2+n3", 20_000.0, 8_000, 6_000),
        _fault("kill", "n4+n5", 12_500, 1_000),
    )
)
# One node after the other misses what is written for a moment: nobody is down, and nothing comes late.
_MOMENTS_MISSED = Schedule(
    tuple(
        _fault("partition", f"n{1 + number % 5}", 2_000 + 600 * number, 500, how="reject")
        for number in range(16)
    )
)
# n1 misses what is written, and nobody dies: a tree that is old stays so.
_ONE_CUT_OFF = Schedule((_fault("partition", "n1", 3_000, 8_800, how="reject"),))
_ONE_AWAY = Schedule((_fault("kill", "n1", 2_000, 7_000),))
# What a round of anti-entropy brings is old when it arrives; the newest write is at two replicas only.
_OLD_NEWS = Schedule(
    (
        _late(["differing"], "all", "all", 400.0, 2_000, 9_000),
        _late(["store"], "all", "owner(r0)", 1_500.0, 2_000, 9_000),
    )
)
# Alone with its clients, then without its disk.
_ONLY_COPY_LOST = Schedule(
    (_fault("partition", "n5", 2_000, 7_000, how="drop"), _fault("wipe", "n5", 7_500, 1_000))
)

BY_TREES_ALONE: dict[str, Any] = {
    "conflict": "lww",
    "hinted.handoff.enabled": False,
    "read.repair": "none",
    "anti.entropy.interval.ms": 300,
}
NO_HINTS: dict[str, Any] = {"max.hint.window.ms": 0, "hinted.handoff.enabled": False}


def _of(
    workload: str, schedule: Schedule, settings: dict[str, Any], *, rate: float = 100.0, seconds: int = 12
) -> Directed:
    return Directed(
        workload=workload,
        schedule=schedule,
        settings=settings,
        rate=rate,
        nodes=NODES,
        time_limit_ms=seconds * 1000,
    )


SCHEDULES: dict[str, Directed] = {
    "tombstone-gc-before-repair": _of(
        "kv-delete", _SLEEPERS, {"tombstone.gc": "time", "gc.grace.ms": 500, **NO_HINTS}
    ),
    "reap-with-primary-down": _of("kv-delete", _SLEEPERS, {"gc.grace.ms": 1_000, **NO_HINTS}),
    "hint-replay-after-tombstone-gc": _of(
        "kv-delete",
        _OLD_HINTS,
        {"gc.grace.ms": 1_000, "max.hint.window.ms": 1_000, "delete.ops.per.key": 6},
        rate=200.0,
    ),
    "hint-deleted-before-ack": _of(
        "write-once",
        _HINTS_ON_THEIR_WAY,
        {
            "conflict": "lww",
            "sloppy.quorum": True,
            "anti.entropy.interval.ms": 0,
            "coordinator.timeout.ms": 100,
        },
        seconds=15,
    ),
    "merkle-hash-omits-metadata": _of("convergence", _MOMENTS_MISSED, BY_TREES_ALONE, rate=250.0),
    "merkle-stale-tree": _of("convergence", _ONE_CUT_OFF, {**BY_TREES_ALONE, "delete.ops.per.key": 100}),
    "ae-pushes-blind": _of(
        "register",
        _OLD_NEWS,
        {"register.keys": 1, "register.ops.per.key": 100_000, "anti.entropy.interval.ms": 200},
    ),
    "hint-counts-as-write": _of("write-once", _ONLY_COPY_LOST, {"write.quorum": "ANY", "conflict": "lww"}),
    "hint-window-expired": _of(
        "convergence",
        _ONE_AWAY,
        {
            "max.hint.window.ms": 100,
            "anti.entropy.interval.ms": 0,
            "read.repair": "none",
            "conflict": "lww",
        },
    ),
}
