"""Whose an anomaly of a store of keys and values is: what settings of quorums, versions and repair account for.

Semantics 2.7 to 2.14: what each mechanism guarantees, and what it leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.checker import CheckContext
from harness.history import History
from harness.results import Blame

STALE = frozenset(
    {
        *("nonlinearizable", "stale-read", "unseen", "lost-write", "mixed-row"),
        *("ryw-violation", "nonmonotonic-read", "nonmonotonic-write", "writes-follow-reads"),
        *("lost-update", "sibling-lost", "counter-under", "resurrected-delete", "resurrected-element"),
    }
)
"""What reads show that do not meet the latest write."""
OVERTAKEN = frozenset({*STALE, "divergence"}) - {"sibling-lost", "counter-under", "resurrected-element"}
"""What a clock does that orders two writes wrongly: the newer one is gone."""
LOST = frozenset(
    {*("lost-write", "unseen", "vanished-read", "lost-update", "counter-under", "sibling-lost")}
    | {*("nonlinearizable", "resurrected-delete", "nonmonotonic-read", "ryw-violation", "mixed-row")}
)
"""What the loss of copies shows as."""
REWRITES = frozenset({"lost-update", "counter-under", "counter-over"})
"""What read-modify-write by clients leads to, on registers that only know the last writer."""
RESURRECTED = frozenset({"resurrected-delete", "resurrected-element"})


def blame_in_store(anomaly: str, history: History, context: CheckContext, *, without_power: int) -> Blame:
    """`without_power` is the most nodes that were without power at the same time."""
    config = context.config
    if _application_rewrites(anomaly, context):
        return Blame.WORKLOAD
    consensus = config.get("conflict") == "raft"
    n = int(config.get("replication.factor", 3))
    read, write = (
        _copies(config.get("read.quorum", "QUORUM"), n),
        _copies(config.get("write.quorum", "QUORUM"), n),
    )
    hints_count = str(config.get("write.quorum", "")).upper() == "ANY"
    by_clock = config.get("conflict") == "lww"
    apart = read + write <= n or bool(config.get("sloppy.quorum")) or hints_count
    periodic = config.get("commitlog.sync", "batch") == "periodic"
    reasons = (
        anomaly in STALE and apart and not consensus,
        anomaly in OVERTAKEN and by_clock and _clocks_moved(history),
        anomaly in STALE and by_clock and config.get("read.repair", "blocking") != "blocking",
        anomaly == "nonlinearizable" and by_clock,
        anomaly == "mixed-row" and config.get("lww.tie", "unique") == "value",
        anomaly in LOST and periodic and without_power > 0,
        anomaly in RESURRECTED and config.get("tombstone.gc", "repair") == "time",
        anomaly == "divergence" and not _repairs(config),
        anomaly in LOST and _lost_disks(history) >= write,
    )
    return Blame.CONFIGURATION if any(reasons) else Blame.SERVER


def _application_rewrites(anomaly: str, context: CheckContext) -> bool:
    """The client reads, changes and writes back, and nothing makes that one step."""
    config = context.config
    if anomaly not in REWRITES:
        return anomaly == "resurrected-element" and config.get("cart.merge") == "union"
    if context.workload == "set-rmw":
        return config.get("conflict") != "raft" or config.get("set.update") == "blind"
    if context.workload == "counter":
        return config.get("counter.style") == "rmw" or bool(config.get("counter.retry"))
    return False


def _copies(level: object, n: int) -> int:
    match str(level).upper():
        case "ANY" | "ONE":
            return 1
        case "QUORUM":
            return n // 2 + 1
        case "ALL":
            return n
        case number:
            return int(number)


def _repairs(config: Mapping[str, Any]) -> bool:
    return int(config.get("anti.entropy.interval.ms", 1)) > 0


def _clocks_moved(history: History) -> bool:
    return any(fault.f == "clock" and fault.type == "ok" for fault in history.faults)


def _lost_disks(history: History) -> int:
    """How many nodes lost their disks, one after the other or together."""
    wiped = (fault for fault in history.faults if fault.f == "wipe" and fault.type == "ok")
    return len({str(t) for f in wiped if isinstance(f.value, dict) for t in f.value.get("targets") or ()})
