"""Checker `availability`: how long nothing succeeded, how fast it was, how soon it came back. Measures only;
safety does not depend on them, and no promise of the systems says that they are always available."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.checker import CheckContext
from harness.history import History
from harness.ops import Operation
from harness.results import Result, Verdict

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
FINAL = frozenset({"final-read", "committed"})
"""Operations that only the final phase has: their absence before it is no outage."""


class AvailabilityChecker:
    description = (
        "measures: longest time without a success, recovery after the last heal, latency, throughput"
    )
    anomalies: Mapping[str, str] = {}

    def check(self, history: History, context: CheckContext) -> Result:
        by_kind: dict[str, list[Operation]] = {}
        for operation in history.operations:
            by_kind.setdefault(operation.f, []).append(operation)
        measures: dict[str, Any] = {
            f: _of_kind(operations, history) for f, operations in sorted(by_kind.items())
        }
        return Result(checker="availability", verdict=Verdict.VALID, measures=measures)


def _of_kind(operations: Sequence[Operation], history: History) -> dict[str, Any]:
    outcomes = [operation.outcome for operation in operations]
    succeeded = [o for o in operations if o.outcome == "ok" and o.end is not None]
    begun, ended = operations[0].start, max(o.end if o.end is not None else o.start for o in operations)
    latencies = sorted((o.end or 0) - o.start for o in succeeded)
    seconds = (ended - begun) / NS_PER_S
    measures: dict[str, Any] = {
        "ok": outcomes.count("ok"),
        "fail": outcomes.count("fail"),
        "info": outcomes.count("info"),
        "ok_per_second": round(len(succeeded) / seconds, 2) if seconds else None,
        "latency_ms": {name: _percentile_ms(latencies, share) for name, share in _PERCENTILES},
    }
    if operations[0].f not in FINAL:
        measures["longest_without_ok_ms"] = longest_gap_ms(begun, ended, [o.end or 0 for o in succeeded])
        measures["recovery_ms"] = recovery_ms(history, operations)
    return measures


_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))


def _percentile_ms(ordered: Sequence[int], share: float) -> float | None:
    """Nearest rank; None without a success."""
    if not ordered:
        return None
    rank = max(1, -(-len(ordered) * share // 1))
    return round(ordered[int(rank) - 1] / NS_PER_MS, 3)


def longest_gap_ms(begun: int, ended: int, successes: Sequence[int]) -> float:
    """From the first try to the last end, the longest stretch in which no operation succeeded."""
    edges = [begun, *sorted(successes), ended]
    return round(max(later - earlier for earlier, later in pairwise(edges)) / NS_PER_MS, 3)


def recovery_ms(history: History, operations: Sequence[Operation]) -> float | None:
    """From the end of the last fault to the first success of an operation that was tried after it.
    None without a fault, or where none succeeded (or was tried) afterwards."""
    healed = max((f.time for f in history.faults if f.type != "invoke"), default=None)
    if healed is None:
        return None
    ends = [o.end for o in operations if o.outcome == "ok" and o.end is not None and o.start >= healed]
    return round((min(ends) - healed) / NS_PER_MS, 3) if ends else None
