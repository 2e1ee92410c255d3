"""Schedules that reach mistakes of producers, transactions and retention (`directed`)."""

from __future__ import annotations

from typing import Any

from harness.catalogue import Directed
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut
from systems.broker.catalogue.producer import PIPELINED

IMPATIENT: dict[str, Any] = {
    "broker.session.timeout.ms": 1500,
    "broker.heartbeat.interval.ms": 300,
    "metadata.max.age.ms": 1000,
    "request.timeout.ms": 5000,
}
"""Another leader is elected, and known to clients, before they give up on what they sent to the first one."""

# What is under way to a leader that nobody hears waits for its time-out, and what comes after it goes to its successor.
_OVERTAKEN = Schedule(
    tuple(cut(f"leader(orders/{n})", 3_000 + 7_000 * n, 6_000, clients=True) for n in range(3))
)

# Of several batches the answers are lost.
_ANSWERS_LOST = Schedule(
    tuple(
        cut(f"leader(orders/{n})", 3_000 + 4_000 * n, 3_500, shape="clients", direction="out")
        for n in range(3)
    )
)

SCHEDULES: dict[str, Directed] = {
    "inflight-reorder": Directed(
        workload="produce",
        schedule=_OVERTAKEN,
        settings=PIPELINED | IMPATIENT | {"enable.idempotence": False},
        time_limit_ms=24_000,
        nodes=5,
    ),
    "sequence-gap-accepted": Directed(
        workload="produce",
        schedule=_OVERTAKEN,
        settings=PIPELINED | IMPATIENT,
        time_limit_ms=24_000,
        nodes=5,
    ),
    "dedupe-window-too-small": Directed(workload="produce", schedule=_ANSWERS_LOST, settings=PIPELINED),
    "oos-then-client-epoch-bump": Directed(workload="produce", schedule=_ANSWERS_LOST),
}
