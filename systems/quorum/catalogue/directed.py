"""Schedules that reach a mistake of the store by themselves; what is under way when a fault strikes differs from seed
to seed."""

from __future__ import annotations

from typing import Any

from harness.catalogue import Directed
from harness.schedule import Fault, Schedule

NODES = 5


def _fault(kind: str, selector: str, at_ms: int, duration_ms: int, **params: Any) -> Fault:
    return Fault(at_ms=at_ms, kind=kind, selector=selector, duration_ms=duration_ms, params=params)


def _slow(latency_ms: float, jitter_ms: float) -> Schedule:
    """Replicas of one key get a write at different times."""
    return Schedule(
        (_fault("slow", "all", 2_000, 12_000, latency_ms=latency_ms, jitter_ms=jitter_ms, to="all"),)
    )


_MINORITIES_CUT = Schedule(
    tuple(_fault("partition", "minority", 2_000 + 5_000 * n, 4_000, how="drop") for n in range(3))
)
_CLOCK_AHEAD = Schedule((_fault("clock", "n1", 2_000, 12_000, mode="jump", offset_ms=3_000),))
_CLOCKS_STEP_BACK = Schedule(
    tuple(
        _fault("clock", node, at_ms, 4_000, mode="jump", offset_ms=800)
        for node, at_ms in (("n1", 3_000), ("n2", 8_000))
    )
)
_NO_POWER = Schedule((_fault("power", "all", 6_000, 3_000),))
_QUIET = Schedule()


def _of(
    workload: str, schedule: Schedule, settings: dict[str, Any] | None = None, *, rate: float = 100.0
) -> Directed:
    return Directed(workload=workload, schedule=schedule, settings=settings or {}, rate=rate, nodes=NODES)


SCHEDULES: dict[str, Directed] = {
    "r-plus-w-le-n": _of(
        "register", _slow(40, 80), {"conflict": "lww", "read.quorum": "ONE", "write.quorum": "ONE"}
    ),
    "lww-clock-skew": _of("register", _CLOCK_AHEAD, {"conflict": "lww"}),
    "coordinator-clock-backwards": _of("session", _CLOCKS_STEP_BACK, {"conflict": "lww"}),
    "lww-rmw-lost-update": _of("set-rmw", _QUIET, {"conflict": "lww"}, rate=40.0),
    "equal-timestamp-per-cell-tie": _of("row", _QUIET, {"lww.tie": "value", "lww.resolution.ms": 5}),
    "ack-before-commitlog-sync": _of("write-once", _NO_POWER, {"commitlog.sync": "periodic"}),
    "counter-rmw": _of("counter", _QUIET, {"counter.style": "rmw"}, rate=40.0),
    "counter-retry-overcount": _of("counter", _MINORITIES_CUT, {"counter.retry": True}),
    "pn-actor-shared": _of("counter", _QUIET, rate=40.0),
    # Not with ABD, which asks a quorum before it writes anything.
    "failed-write-reported-as-fail": _of(
        "register", _MINORITIES_CUT, {"conflict": "lww", "register.keys": 20}, rate=150.0
    ),
    "delete-as-absence": _of("kv-delete", _MINORITIES_CUT),
    "read-repair-blind-overwrite": _of("register", _slow(10, 60), rate=150.0),
    "abd-write-skips-query": _of("register", _QUIET, rate=40.0),
    "sibling-explosion": _of("siblings", _QUIET, rate=40.0),
    "cas-checked-at-proposal": _of("register", _QUIET, {"conflict": "raft"}),
}
