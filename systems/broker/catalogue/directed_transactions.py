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
    "metadata.max.age.ms": 300,
}
"""Another leader is elected, and known to clients, before they give up on what they sent to the first one."""

# What is under way to a leader that nobody hears waits for its time-out, and what comes after it goes to its successor.
_OVERTAKEN = Schedule(
    tuple(cut(f"leader(orders/{n})", 3_000 + 5_000 * n, 4_000, clients=True) for n in range(3))
)

SCHEDULES: dict[str, Directed] = {
    "inflight-reorder": Directed(
        workload="produce",
        schedule=_OVERTAKEN,
        settings=PIPELINED | IMPATIENT | {"enable.idempotence": False},
    ),
    "sequence-gap-accepted": Directed(
        workload="produce", schedule=_OVERTAKEN, settings=PIPELINED | IMPATIENT
    ),
}
