"""Schedules that reach the mistakes of registers, and of what merges by itself.

`r0` is the only key of a register workload: faults are aimed at those who keep it (the first of them is its owner).
"""

from __future__ import annotations

from typing import Any

from harness.catalogue import Directed
from harness.schedule import Fault, Schedule

NODES = 5
ONE_REGISTER: dict[str, Any] = {"register.keys": 1, "register.ops.per.key": 100_000}
LATER = "replicas(r0)-owner(r0)"
"""The replicas that a write reaches last."""


def _late(
    kinds: list[str], to: str, latency_ms: float, *, at_ms: int = 2_000, selector: str = "all"
) -> Fault:
    """Messages of these kinds arrive there late; all others overtake them."""
    params = {"latency_ms": latency_ms, "jitter_ms": 0.0, "kinds": kinds, "to": to, "direction": "out"}
    return Fault(at_ms=at_ms, kind="slow", selector=selector, duration_ms=10_000, params=params)


def _cut(selector: str, **params: Any) -> Fault:
    return Fault(at_ms=2_000, kind="partition", selector=selector, duration_ms=10_000, params=params)


# S12. A write is at the owner and on its way to the others: who asks the owner sees it, who asks the others does not.
_ON_ITS_WAY = Schedule((_late(["store"], LATER, 400.0),))
# Two replicas and half of the clients are on one side, the third, its fallbacks and the other clients on the other one.
_REPLICAS_APART = Schedule(
    (
        _cut(LATER, shape="halves"),
        _cut("client-0+client-1+client-2+client-3+client-4", to=LATER, how="reject"),
        _cut("client-5+client-6+client-7+client-8+client-9", to=f"all-({LATER})", how="reject"),
    )
)
_QUIET = Schedule()


def _register(schedule: Schedule, settings: dict[str, Any] | None = None, **more: Any) -> Directed:
    return Directed(
        workload="register",
        schedule=schedule,
        settings={**ONE_REGISTER, **(settings or {})},
        rate=100.0,
        nodes=NODES,
        time_limit_ms=15_000,
        **more,
    )


SCHEDULES: dict[str, Directed] = {
    "abd-no-write-back": _register(_ON_ITS_WAY),
    "new-old-inversion": _register(_ON_ITS_WAY, {"conflict": "lww", "read.repair": "none"}),
    "async-read-repair": _register(_ON_ITS_WAY, {"conflict": "lww", "read.repair": "async"}),
    "r1-wn-inversion": _register(
        _ON_ITS_WAY,
        {"conflict": "lww", "read.quorum": "ONE", "write.quorum": "ALL", "read.repair": "none"},
    ),
    "sloppy-quorum": _register(_REPLICAS_APART, {"conflict": "lww", "sloppy.quorum": True}),
    "abd-unanimous-skip-with-small-r": _register(
        Schedule((_late(["store"], "n3+n4+n5", 400.0),)),
        {"replication.factor": 5, "read.quorum": "2", "write.quorum": "4"},
    ),
    "abd-used-for-rmw": Directed(
        workload="set-rmw", schedule=_QUIET, settings={"conflict": "abd"}, nodes=NODES, time_limit_ms=10_000
    ),
    "pn-nonatomic-local-inc": Directed(
        workload="counter", schedule=_QUIET, rate=200.0, nodes=NODES, time_limit_ms=10_000
    ),
}
