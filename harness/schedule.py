"""Fault schedules: plain data that a nemesis produces and the fault injector carries out.

Kinds and their parameters (every kind undoes itself after `duration_ms`; None = until the end of the run):

| kind        | targets               | params |
|-------------|-----------------------|--------|
| `partition` | selector = one side   | `shape`: `isolate` (targets against all other nodes), `halves`, `ring` (majorities-ring), `bridge`, `peers` (targets cut from the nodes of their own role only); `direction`: `both`, `out`, `in`; `how`: `drop`, `reject`, `hold`; `clients`: bool, cut client links too |
| `kill`      | nodes                 | restarted after the duration |
| `pause`     | nodes                 | resumed after the duration |
| `power`     | nodes                 | `torn`: bool; what was not fsynced is gone; restarted after the duration |
| `clock`     | nodes                 | `mode`: `jump`, `drift`, `strobe`; `offset_ms`; `rate` (drift, s/s); `period_ms` (strobe) |
| `slow`      | nodes (all their links) | `latency_ms`, `jitter_ms` |
| `crash-at`  | selector              | `step`: a named protocol step (DESIGN: fault points); the next node of the targets that reaches it is killed |

Selectors are resolved when the fault fires, against the cluster's state at that moment: a node name,
`all`, a role in the plural (`brokers`, `controllers`, `clients`), `random`, `minority`, `majority`,
`one-of(SELECTOR)`, `SELECTOR-SELECTOR` (set difference), `SELECTOR+SELECTOR` (union), or a function of the system:
`leader(orders/0)`, `followers(orders/0)`, `isr(orders/0)`, `replicas(orders/0)`,
`outside-isr(orders/0)`, `coordinator(TXN)`, `group-coordinator(GROUP)`, `controller`.
"""

from __future__ import annotations

from typing import Any

import msgspec

FORMAT_VERSION = 1


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One injected failure. Times are milliseconds since the workload began."""

    at_ms: int
    kind: str
    selector: str
    duration_ms: int | None = None
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class Schedule(msgspec.Struct, frozen=True):
    """Faults in the order of `at_ms`. The JSON form is `schedule.json` of a run folder."""

    faults: tuple[Fault, ...] = ()
    version: int = FORMAT_VERSION

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(f.kind for f in self.faults)


def merge(*schedules: Schedule) -> Schedule:
    """The union of several schedules, ordered by time (stable)."""
    faults = [f for s in schedules for f in s.faults]
    return Schedule(tuple(sorted(faults, key=lambda f: f.at_ms)))
