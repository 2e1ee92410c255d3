"""Checker `exactly-once`: does each input record contribute exactly once to the committed output?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.exactly_once.contributions import left_undone, lost, repeated
from checkers.exactly_once.explain import explain
from checkers.exactly_once.offsets import offset_regressions
from checkers.exactly_once.outputs import Outputs, collect_outputs
from checkers.exactly_once.transactions import dirty, torn
from checkers.exactly_once.transfers import Transfers, collect
from checkers.findings import Finding
from checkers.log.observations import Observations, observe
from harness.checker import CheckContext
from harness.history import History
from harness.results import Result, Verdict

ANOMALIES: Mapping[str, str] = {
    "eos-loss": "an input counts as done (the group's committed offset is beyond it) and has no committed output",
    "eos-duplicate": "an input was carried to the committed output two or more times",
    "torn-txn": "when everything has come to rest, readers of committed records see some outputs of a transaction and not all",
    "aborted-read": "an output of a transaction whose abort was acknowledged was read (G1a)",
    "phantom-read": "an output was read that no pipeline can have written",
    "offset-regression": "a group's committed offset went back: a fetch returned less than had been acknowledged before it",
}


class ExactlyOnceChecker:
    description = "each input contributes once to the committed output; transactions are all or nothing"
    anomalies = ANOMALIES

    def check(self, history: History, context: CheckContext) -> Result:
        seen = observe(history, str(context.config.get("isolation.level", "read_committed")))
        in_transaction = str(context.config.get("eos.offsets", "transaction")) == "transaction"
        transfers = collect(seen, offsets_in_transaction=in_transaction)
        outputs = collect_outputs(seen, transfers)
        findings = find(seen, transfers, outputs)
        anomalies = explain(seen, transfers, outputs, findings, context)
        reason = None if anomalies else too_thin(seen, transfers, outputs)
        verdict = Verdict.INVALID if anomalies else Verdict.VALID if reason is None else Verdict.UNKNOWN
        return Result(
            checker="exactly-once",
            verdict=verdict,
            reason=reason,
            anomalies=anomalies,
            measures=_measures(seen, transfers, outputs),
        )


def find(seen: Observations, transfers: Transfers, outputs: Outputs) -> list[Finding]:
    """All proven instances of all anomalies."""
    return [
        *repeated(seen, transfers, outputs),
        *lost(seen, transfers, outputs),
        *torn(seen, transfers, outputs),
        *dirty(seen, transfers, outputs),
        *offset_regressions(seen, transfers),
    ]


def too_thin(seen: Observations, transfers: Transfers, outputs: Outputs) -> str | None:
    """Rule 11 (semantics 1c): why silence would prove nothing, with the number; None where it does."""
    tried = len(transfers.transactions)
    committed = sum(t.fate == "committed" for t in transfers.transactions.values())
    if not committed:
        return f"none of {tried} transactions committed"
    if outputs.removed:
        told = ", ".join(f"{name} at offset {start}" for name, start in outputs.removed.items())
        return (
            f"{len(outputs.removed)} output partitions do not begin at offset 0 any more ({told}): what was removed from "
            "them cannot be judged; keep the outputs (log.retention.ms, log.retention.bytes)"
        )
    if outputs.incomplete:
        names = ", ".join(outputs.incomplete)
        return f"{len(outputs.incomplete)} output partitions were not read to their end: {names}"
    if not outputs.at:
        return f"no output was read of {committed} committed transactions"
    if transfers.final_offsets is None:
        return "the group's committed offsets were not fetched at the end (0 answers)"
    unread = [
        name
        for name in sorted(transfers.final_offsets)
        if name in seen.partitions and seen.partitions[name].final is None
    ]
    if unread:
        return f"{len(unread)} input partitions were not read to their end: {', '.join(unread)}"
    rest = left_undone(seen, transfers)
    if rest:
        return f"{rest} inputs were still to be processed when the drain ended"
    return None


def _measures(seen: Observations, transfers: Transfers, outputs: Outputs) -> dict[str, Any]:
    fates = [t.fate for t in transfers.transactions.values()]
    inputs = [
        len(final.values)
        for name in (transfers.final_offsets or {})
        if name in seen.partitions and (final := seen.partitions[name].final) is not None
    ]
    return {
        "inputs": sum(inputs),
        "outputs": len(outputs.at),
        "committed": fates.count("committed"),
        "aborted": fates.count("aborted"),
        "unknown": fates.count("unknown"),
        "empty": fates.count("empty"),
    }
