"""Schedules that reach the mistakes of registers, and of what merges by itself.

`r0` is the only key of a register workload: faults are aimed at those who keep it (the first of them is its owner).
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.catalogue import Directed
from harness.schedule import Fault, Schedule

NODES = 5
ONE_REGISTER: dict[str, Any] = {"register.keys": 1, "register.ops.per.key": 100_000}
LATER = "replicas(r0)-owner(r0)"
"""The replicas that a write reaches last."""


def _late(
    kinds: list[str],
    to: str,
    latency_ms: float,
    *,
    at_ms: int = 2_000,
    duration_ms: int = 10_000,
    selector: str = "all",
    direction: str = "out",
) -> Fault:
    """Messages of these kinds arrive there late; all others overtake them."""
    params = {"latency_ms": latency_ms, "jitter_ms": 0.0, "kinds": kinds, "to": to, "direction": direction}
    return Fault(at_ms=at_ms, kind="slow", selector=selector, duration_ms=duration_ms, params=params)


def _cut(selector: str, *, at_ms: int = 2_000, duration_ms: int = 10_000, **params: Any) -> Fault:
    return Fault(at_ms=at_ms, kind="partition", selector=selector, duration_ms=duration_ms, params=params)


# S12. A write is at the owner and on its way to the others: who asks the owner sees it, who asks the others does not.
_ON_ITS_WAY = Schedule((_late(["store"], LATER, 400.0),))
# All five keep the key. A write is at two of them, and who asks one of these is answered by the other first.
_TWO_HAVE_IT = Schedule(
    (
        _late(["store"], "n3+n4+n5", 400.0),
        _late(["found"], "n3+n4+n5", 50.0, selector="n1+n2", direction="both"),
    )
)
# Two replicas and half of the clients are on one side, the third, its fallbacks and the other clients on the other one.
_REPLICAS_APART = Schedule(
    (
        _cut(LATER, shape="halves"),
        _cut("client-0+client-1+client-2+client-3+client-4", to=LATER, how="reject"),
        _cut("client-5+client-6+client-7+client-8+client-9", to=f"all-({LATER})", how="reject"),
    )
)


def _tag_of_a_dead_writer(at_ms: int) -> tuple[Fault, ...]:
    """S13. `n4`, which keeps no copy, dies when the owner has a write of its; comes back while the owner is away, writes
    again and dies again. Then everybody reads: its own clients were alone with it meanwhile."""
    others = "+".join(f"client-{number}" for number in (0, 1, 2, 4, 5, 6, 7, 9))
    return (
        _cut(others, at_ms=at_ms, duration_ms=5_000, how="reject"),
        _cut("client-3+client-8", at_ms=at_ms, duration_ms=5_500, how="reject", to="all-n4"),
        _late(["store"], LATER, 8_000.0, selector="n4", at_ms=at_ms, duration_ms=1_600),
        _crash("store.write.stored", at_ms=at_ms + 50, duration_ms=1_700),
        _cut("owner(r0)", at_ms=at_ms + 1_500, duration_ms=3_000, how="reject"),
        _crash("store.write.acknowledged", at_ms=at_ms + 1_800, duration_ms=3_700),
    )


def _crash(step: str, at_ms: int, duration_ms: int) -> Fault:
    return Fault(at_ms=at_ms, kind="crash-at", selector="n4", duration_ms=duration_ms, params={"step": step})


_AHEAD = Schedule(
    (
        Fault(
            at_ms=2_000,
            kind="clock",
            selector="n1",
            duration_ms=8_000,
            params={"mode": "jump", "offset_ms": 10_000},
        ),
    )
)
_QUIET = Schedule()


def _register(schedule: Schedule, settings: dict[str, Any] | None = None, **more: Any) -> Directed:
    return Directed(
        workload="register",
        schedule=schedule,
        settings={**ONE_REGISTER, **(settings or {})},
        nodes=NODES,
        **{"rate": 100.0, "time_limit_ms": 15_000, **more},
    )


def _amnesia(at_ms: int) -> tuple[Fault, ...]:
    """What the owner of `x0` has lost reaches it only after it has put again."""
    return (
        Fault(at_ms=at_ms, kind="power", selector="owner(x0)", duration_ms=500),
        _late(["store"], "owner(x0)", 2_500.0, at_ms=at_ms, duration_ms=2_500),
    )


def _siblings(schedule: Schedule, settings: dict[str, Any] | None = None) -> Directed:
    return Directed(
        workload="siblings",
        schedule=schedule,
        settings={"siblings.keys": 1, "siblings.ops.per.key": 100_000, **(settings or {})},
        rate=60.0,
        nodes=NODES,
        time_limit_ms=15_000,
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
        _TWO_HAVE_IT,
        {"replication.factor": 5, "read.quorum": "2", "write.quorum": "4"},
    ),
    "abd-used-for-rmw": Directed(
        workload="set-rmw", schedule=_QUIET, settings={"conflict": "abd"}, nodes=NODES, time_limit_ms=10_000
    ),
    "pn-nonatomic-local-inc": Directed(
        workload="counter", schedule=_QUIET, rate=200.0, nodes=NODES, time_limit_ms=10_000
    ),
    "put-without-context-overwrites": _siblings(_QUIET),
    "stomp-ignores-context": _siblings(_QUIET),
    "vclock-pruning": _siblings(_QUIET),
    "vclock-prune-newest": _siblings(_QUIET),
    "context-dropped-on-read-merge": _siblings(Schedule((_late(["store"], "replicas(x0)-n1", 400.0),))),
    "actor-reuse-after-amnesia": _siblings(
        Schedule(tuple(fault for n in range(3) for fault in _amnesia(3_000 + 4_000 * n))),
        {
            "commitlog.sync": "periodic",
            "commitlog.sync.period.ms": 3_000,
            "anti.entropy.interval.ms": 0,
            "siblings.blind.share": 0.9,
        },
    ),
    "abd-tag-reuse-after-restart": _register(
        Schedule(tuple(fault for n in range(3) for fault in _tag_of_a_dead_writer(2_000 + 6_000 * n))),
        {"register.read.share": 0.96, "anti.entropy.interval.ms": 0},
        rate=200.0,
        time_limit_ms=20_000,
    ),
    "raft-read-without-quorum": msgspec.structs.replace(
        _register(
            Schedule(tuple(_cut("leader(r0)", at_ms=2_000 + 7_000 * n, duration_ms=5_000) for n in range(3))),
            {"conflict": "raft", "consensus.election.timeout.ms": 2_000, "coordinator.timeout.ms": 200},
            time_limit_ms=22_000,
        ),
        nodes=3,
    ),
    "cart-union-resurrects": Directed(
        workload="cart", schedule=_QUIET, settings={"cart.merge": "union"}, nodes=NODES, time_limit_ms=10_000
    ),
    "counter-delta-log-replay": Directed(
        workload="counter",
        schedule=Schedule(
            (
                Fault(
                    at_ms=3_000,
                    kind="crash-at",
                    selector="owner(c0)",
                    duration_ms=3_000,
                    params={"step": "store.snapshot.renamed"},
                ),
            )
        ),
        settings={"commitlog.snapshot.bytes": 16_384},
        rate=200.0,
        nodes=NODES,
        time_limit_ms=12_000,
    ),
    "future-tombstone": Directed(
        workload="kv-delete",
        schedule=_AHEAD,
        settings={"conflict": "lww"},
        rate=60.0,
        nodes=NODES,
        time_limit_ms=15_000,
    ),
    "lwt-mixed-with-plain-writes": _register(_AHEAD, {"conflict": "raft"}),
}
