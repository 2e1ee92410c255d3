"""Fault schedules: plain data that a nemesis produces and the fault injector carries out.

Kinds and their parameters (every kind undoes itself after `duration_ms`; None = until the end of the run):

| kind        | targets               | params |
|-------------|-----------------------|--------|
| `partition` | selector = one side   | `shape`: `isolate` (targets against all other nodes), `halves`, `ring` (majorities-ring), `bridge`, `peers` (targets cut from the nodes of their own role only), `clients` (from the client hosts only); `direction`: `both`, `out`, `in`; `how`: `drop`, `reject`, `hold`; `clients`: bool, cut client links too; `step`: not at once but when the next node reaches this protocol step (at the latest after a quarter of the duration, which counts from `at_ms`) |
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
A function without its argument (`leader`) takes a random one of the run's subjects. `minority` and
`majority` draw from each role, so that `minority` never breaks a quorum; `minority(SELECTOR)` and
`majority(SELECTOR)` draw from the given nodes. Client hosts go by their names (`client-0`).

In the history a fault is a pair `invoke` and `ok` of process `nemesis` with `f` = its kind, and a second
pair when it ends, with `f` of `UNDO`. `value` is an object: `fault` (position in the schedule, the same in
both pairs), `selector`, `params`, `duration_ms`, and in the completion `targets` (names), `links`
(`[source, target]` pairs), `verified`, `detail`. A fault without a target completes as `fail`, one that
raised as `info`. `crash-at` only arms; the crash is a `kill` pair of the same `fault`.
"""

from __future__ import annotations

from typing import Any

import msgspec

FORMAT_VERSION = 1

UNDO = {
    "partition": "heal-partition",
    "kill": "restart",
    "pause": "resume",
    "power": "restart",
    "clock": "heal-clock",
    "slow": "heal-slow",
    "crash-at": "disarm",
}
"""Kind of fault -> `f` of the event that ends it."""

KINDS = frozenset(UNDO)


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One injected failure. Times are milliseconds since the workload began."""

    at_ms: int
    kind: str
    selector: str
    duration_ms: int | None = None
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
