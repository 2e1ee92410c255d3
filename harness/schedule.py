"""Fault schedules: plain data that a nemesis produces and the fault injector carries out.

Kinds and their parameters (every kind undoes itself after `duration_ms`; None = until the end of the run):

| kind        | targets               | params |
|-------------|-----------------------|--------|
| `partition` | selector = one side   | `shape`: `isolate` (targets against all other nodes), `halves`, `ring` (majorities-ring), `bridge`, `peers` (targets cut from the nodes of their own role only), `clients` (from the client hosts only); `direction`: `both`, `out`, `in`; `how`: `drop`, `reject`, `hold`; `clients`: bool, cut client links too; `to`: a selector, only the links to and from these (whatever the shape); `step`: not at once but when the next node reaches this protocol step (at the latest after a quarter of the duration, which counts from `at_ms`) |
| `kill`      | nodes                 | restarted after the duration |
| `pause`     | nodes                 | resumed after the duration |
| `power`     | nodes                 | `torn`: bool; what was not fsynced is gone; restarted after the duration |
| `wipe`      | nodes                 | the node dies and its disk is emptied; restarted after the duration |
| `disk-full` | nodes                 | nothing more can be written; a node that stopped for it is started again |
| `slow-disk` | nodes                 | `latency_ms`, `jitter_ms`: added to every fsync |
| `clock`     | nodes                 | `mode`: `jump`, `drift`, `strobe` (to and fro), `scatter` (each target by an offset of its own, up to `offset_ms` either way), `sawtooth` (ahead at `rate`, and a step back every period); `offset_ms`; `rate` (s/s); `period_ms` |
| `cpu`       | nodes                 | `cores`: all the node gets of its machine's processors |
| `memory`    | nodes                 | `more_mb`: more than now it cannot get; a node that is killed for it is started again |
| `slow`      | links of nodes        | `latency_ms`, `jitter_ms`; `kinds`: only messages of these kinds, a list of names; `step` as of a `partition`; `to`, `direction`, see below |
| `flaky`     | links of nodes        | `loss`: probability; `bandwidth_kbps` (0: no limit); `to`, `direction` |
| `datagrams` | links of nodes        | `loss`, `duplicate`, `reorder`: probabilities, for datagrams only; `to`, `direction` |
| `join`      | spare nodes           | each is launched and told to join; leaves again after the duration |
| `leave`     | members               | each is told to leave, then retired; launched anew and told to join after the duration |
| `replace`   | members               | each is lost, and one of `by` (a selector) launched in its place; replaced back after the duration |
| `promote`   | standbys              | each is told to become the primary; nothing is taken back |
| `crash-at`  | selector              | `step`: a named protocol step (DESIGN: fault points); the next node of the targets that reaches it is killed |

A fault of links is one of all links of its targets, those to client hosts included. `to` (a selector) leaves only
the links between targets and these; `direction` (`both`, `out`, `in`) is seen from the targets. `kinds` are kinds of
messages between nodes, as the system names them.

`join`, `leave`, `replace` and `promote` are changes of the cluster, which take their time: they complete when the system says
so, other faults go on meanwhile, and at the end of the run they are undone only where they have a duration. Whoever
is not a member when a fault fires is not hit by it.

Selectors are resolved when the fault fires, against the cluster's state at that moment: a node name,
`all`, a role in the plural (`brokers`, `controllers`, `clients`), `random`, `minority`, `majority`,
`one-of(SELECTOR)`, `SELECTOR-SELECTOR` (set difference), `SELECTOR+SELECTOR` (union), or a function of the system:
`leader(orders/0)`, `followers(orders/0)`, `isr(orders/0)`, `replicas(orders/0)`,
`outside-isr(orders/0)`, `coordinator(TXN)`, `group-coordinator(GROUP)`, `controller`; of a store
`replicas(KEY)`, `owner(KEY)`, `outside(KEY)` and, under consensus, `leader(KEY)`.
A function without its argument (`leader`) takes a random one of the run's subjects. `minority` and
`majority` draw from each role, so that `minority` never breaks a quorum; `minority(SELECTOR)` and
`majority(SELECTOR)` draw from the given nodes. `spares` are the nodes that are no members. Client hosts go by their names (`client-0`).

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
    "wipe": "restart",
    "disk-full": "heal-disk-full",
    "slow-disk": "heal-slow-disk",
    "clock": "heal-clock",
    "cpu": "heal-cpu",
    "memory": "heal-memory",
    "slow": "heal-slow",
    "flaky": "heal-flaky",
    "datagrams": "heal-datagrams",
    "join": "undo-join",
    "leave": "undo-leave",
    "replace": "undo-replace",
    "promote": "undo-promote",
    "crash-at": "disarm",
}
"""Kind of fault -> `f` of the event that ends it."""

KINDS = frozenset(UNDO)

PROMOTE = "promote"
CLIENTS_TAKE = frozenset({"kill", "pause", "partition", "slow", "flaky", "datagrams"})
"""Kinds that can be aimed at client hosts on every backend: those of processes and links."""

CHANGES = frozenset({"join", "leave", "replace", PROMOTE})
"""Kinds that change who belongs to the cluster, or who leads it: nothing is broken by them."""

RATIONS = frozenset({"cpu", "memory"})
"""Kinds that need an operating system: a simulated node has neither processor nor memory of its own."""

MESSAGE_KINDS = "message-kinds"
"""What a backend must be able to do, beside `slow`, for a `slow` with `kinds`."""

THROUGH_ENVIRONMENT = frozenset({"power", "slow-disk", "crash-at", MESSAGE_KINDS})
"""Kinds that are done through what a node program of ours is given (`harness.node.NodeEnvironment`), on every backend:
nobody can do them to other programs."""


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

    @property
    def needs(self) -> frozenset[str]:
        """What the backend must be able to do."""
        by_kind = any(f.kind == "slow" and f.params.get("kinds") for f in self.faults)
        return self.kinds | ({MESSAGE_KINDS} if by_kind else frozenset())


def merge(*schedules: Schedule) -> Schedule:
    """The union of several schedules, ordered by time (stable)."""
    faults = [f for s in schedules for f in s.faults]
    return Schedule(tuple(sorted(faults, key=lambda f: f.at_ms)))
