"""Schedules that reach the mistakes of the ring: who comes and goes, who is behind, and whose disk is lost.

Names of nodes are meant: tokens are made of them, so that the same keys are at the same nodes in every run.
"""

from __future__ import annotations

from typing import Any

from harness.catalogue import Directed
from harness.schedule import Fault, Schedule
from systems.quorum.catalogue.ring import NODES, ONE_OF_ALL, SPARES, UNMENDED


def _fault(kind: str, selector: str, at_ms: int, duration_ms: int | None = None, **params: Any) -> Fault:
    return Fault(at_ms=at_ms, kind=kind, selector=selector, duration_ms=duration_ms, params=params)


def _late(kinds: list[str], selector: str, at_ms: int, duration_ms: int, **params: Any) -> Fault:
    """Messages of these kinds, and no others, take their time."""
    return _fault("slow", selector, at_ms, duration_ms, jitter_ms=0.0, kinds=kinds, **params)


# n6 is in the ring and has its ranges long before n5 hears of it.
_ONE_BEHIND = Schedule(
    (
        _late(["beat", "ask-ring"], "n5", 2_000, 6_000, to="all+n6", direction="in", latency_ms=4_500.0),
        _fault("join", "n6", 3_000),
    )
)
# n6 has fetched its ranges, and it takes a while until that is agreed upon.
_SLOW_AGREEMENT = Schedule(
    (
        _late(["vote"], "all", 2_000, 9_000, to="n6", direction="out", latency_ms=800.0),
        _fault("join", "n6", 3_000),
    )
)
# n1 lacks what was written meanwhile, and is asked first by who takes n2's place.
_LAGGARD_ASKED = Schedule(
    (_fault("partition", "n1", 2_000, 4_000, how="reject"), _fault("replace", "n2", 8_000, by="n6"))
)
# n1 has what nobody else has, and leaves.
_ONLY_COPY_LEAVES = Schedule(
    (_fault("partition", "n1", 2_000, 4_000, how="reject"), _fault("leave", "n1", 8_000))
)
# n4 and n5 keep all that there is for three others. n5 goes, and what it has for them takes too long.
_HOLDER_LEAVES = Schedule(
    (
        _fault("kill", "n1+n2+n3", 2_000, 6_000),
        _late(["store"], "n5", 7_000, 6_000, to="all", direction="out", latency_ms=15_000.0),
        _fault("leave", "n5", 8_500),
    )
)
_TWO_DISKS_LOST = Schedule((_fault("wipe", "n1", 3_000, 1_000), _fault("wipe", "n2", 8_000, 1_000)))
_ONE_DISK_LOST = Schedule((_fault("wipe", "n2", 6_000, 1_000),))


def _of(schedule: Schedule, settings: dict[str, Any], *, seconds: int = 12) -> Directed:
    return Directed(
        workload="write-once",
        schedule=schedule,
        settings=settings,
        rate=80.0,
        nodes=NODES,
        time_limit_ms=seconds * 1000,
    )


SCHEDULES: dict[str, Directed] = {
    "ring-disagreement": _of(_ONE_BEHIND, {**SPARES, **ONE_OF_ALL, "phi.convict.threshold": 50.0}),
    "bootstrap-no-pending-writes": _of(_SLOW_AGREEMENT, {**SPARES, **ONE_OF_ALL}),
    "stream-from-wrong-replica": _of(_LAGGARD_ASKED, {**SPARES, **UNMENDED}),
    "cleanup-before-handoff": _of(
        _ONLY_COPY_LEAVES, {**UNMENDED, "read.quorum": "ALL", "write.quorum": "ONE"}
    ),
    "decommission-drops-hints": _of(
        _HOLDER_LEAVES, {"sloppy.quorum": True, "conflict": "lww", "anti.entropy.interval.ms": 0}, seconds=14
    ),
    "amnesiac-replica-answers": _of(_TWO_DISKS_LOST, UNMENDED),
    "vnodes-collocated": _of(_ONE_DISK_LOST, UNMENDED),
}
