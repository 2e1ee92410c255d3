"""Checker `log`: is each partition an append-only log that keeps what it acknowledged?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.findings import Finding
from checkers.log.contradictions import inconsistent_offsets, vanished_reads
from checkers.log.dirty_reads import aborted_reads, phantom_reads
from checkers.log.duplicates import duplicates
from checkers.log.end_offsets import lso_stuck, nonmonotonic_ends
from checkers.log.explain import explain
from checkers.log.lost import acknowledged_count, lost_and_unseen, removed_too_early
from checkers.log.observations import Observations, observe
from checkers.log.poll_order import poll_jumps
from checkers.log.send_order import nonmonotonic_sends
from checkers.log.version_order import version_order
from harness.checker import CheckContext
from harness.history import History
from harness.results import Result, Verdict

ANOMALIES: Mapping[str, str] = {
    "lost-write": "an acknowledged record is gone: the final read, or a consumer that read on beyond its offset, does not have it",
    "unseen": "an acknowledged record was never read, but nothing proves that it is lost and not only late (no violation)",
    "duplicate": "a record that was sent once stands at two or more offsets of its partition",
    "inconsistent-offsets": "at one offset of a partition, clients were told of or read two or more different records",
    "vanished-read": "a record that a consumer was given is not in the log in the end",
    "aborted-read": "a record was read although its send had been refused for certain (G1a)",
    "phantom-read": "a record was read that nobody sent",
    "nonmonotonic-send": "records of one producer stand in another order than it sent them, across operations",
    "int-nonmonotonic-send": "records of one send operation stand in another order than they were handed over",
    "poll-skip": "a consumer jumped forward over known records without a new assignment",
    "int-poll-skip": "one poll left out known records between two that it returned",
    "nonmonotonic-poll": "a consumer was sent back without a new assignment",
    "nonmonotonic-end-offset": "after the heal a partition ends at a lower offset than a client had been told before",
    "lso-stuck": "a transaction never ends, so that readers of committed records stop at it for ever",
}


class LogChecker:
    description = "each partition keeps what it acknowledged: once, in order, for every reader the same"
    anomalies = ANOMALIES

    def check(self, history: History, context: CheckContext) -> Result:
        seen = observe(history, str(context.config.get("isolation.level", "read_committed")))
        findings = find(
            seen,
            float(context.config.get("transaction.timeout.ms", 10_000)),
            retention_ms=_retention_ms(context.config),
        )
        anomalies = explain(seen, findings, context)
        proven = any(not anomaly.allowed for anomaly in anomalies)
        reason = None if proven else too_thin(seen, findings)
        verdict = Verdict.INVALID if proven else Verdict.VALID if reason is None else Verdict.UNKNOWN
        return Result(
            checker="log", verdict=verdict, reason=reason, anomalies=anomalies, measures=_measures(seen)
        )


def _retention_ms(config: Mapping[str, Any]) -> float | None:
    """What a record lives at least, where time alone removes any."""
    limit_ms = float(config.get("log.retention.ms", -1))
    return limit_ms if limit_ms >= 0 and int(config.get("log.retention.bytes", -1)) < 0 else None


def find(
    seen: Observations, transaction_timeout_ms: float = 10_000, *, retention_ms: float | None = None
) -> list[Finding]:
    """All proven instances of all anomalies."""
    orders = {name: version_order(partition) for name, partition in seen.partitions.items()}
    findings = lost_and_unseen(seen)
    for name, partition in seen.partitions.items():
        if retention_ms is not None:
            findings += removed_too_early(seen, partition, retention_ms)
        findings += duplicates(seen, partition, orders[name])
        findings += inconsistent_offsets(seen, partition)
        findings += vanished_reads(seen, partition)
        findings += aborted_reads(seen, partition)
        findings += phantom_reads(seen, partition)
        findings += nonmonotonic_sends(seen, partition, orders[name])
        findings += nonmonotonic_ends(seen, partition)
        findings += lso_stuck(seen, partition, transaction_timeout_ms)
    return findings + poll_jumps(seen, orders)


def too_thin(seen: Observations, findings: list[Finding]) -> str | None:
    """Rule 11 (semantics 1c): why silence would prove nothing, with the number; None where it does."""
    acknowledged = {name: acknowledged_count(seen, p) for name, p in seen.partitions.items()}
    total = sum(acknowledged.values())
    written = sum(len(p.writes.value) for p in seen.partitions.values())
    if not total:
        return f"none of {written} records was acknowledged"
    if not any(p.reads.value for p in seen.partitions.values()):
        return f"nothing was read of {total} acknowledged records"
    for name, partition in sorted(seen.partitions.items()):
        if acknowledged[name] and partition.final is None:
            return f"{_final_progress(partition.final_progress)} {name}, which has {acknowledged[name]} acknowledged records"
        if partition.final is not None and partition.final.hidden:
            return (
                f"open transactions hide {name} from offset {partition.final.end} to "
                f"{partition.final.high_watermark}, and had not had the time to be timed out"
            )
    unseen = sum(finding.name == "unseen" for finding in findings)
    if unseen:
        return f"{unseen} of {total} acknowledged records were never read: lost or late"
    return None


def _final_progress(progress: tuple[int, int] | None) -> str:
    if progress is None:
        return "there is no final read of"
    return f"the final read came to offset {progress[0]} of {progress[1]} in"


def _measures(seen: Observations) -> dict[str, Any]:
    partitions = seen.partitions.values()
    return {
        "written": sum(len(p.writes.value) for p in partitions),
        "acknowledged": sum(acknowledged_count(seen, p) for p in partitions),
        "reads": sum(len(p.reads.value) for p in partitions),
        "final_records": sum(len(p.final.values) for p in partitions if p.final is not None),
        "partitions": len(seen.partitions),
    }
