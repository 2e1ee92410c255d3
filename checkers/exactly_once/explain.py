"""What the `exactly-once` checker found, for a reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from checkers.exactly_once.case import Case
from checkers.exactly_once.explain_inputs import duplicate, lost
from checkers.exactly_once.explain_transactions import aborted_read, offset_regression, phantom_read, torn
from checkers.exactly_once.outputs import Outputs
from checkers.exactly_once.transfers import Transfers
from checkers.findings import Explanation, Finding, anomalies_of
from checkers.log.observations import Observations
from checkers.log.scene import scene
from harness.checker import CheckContext
from harness.results import Anomaly

EXPLANATIONS: Mapping[str, Callable[[Case], Explanation]] = {
    "eos-duplicate": duplicate,
    "eos-loss": lost,
    "torn-txn": torn,
    "aborted-read": aborted_read,
    "phantom-read": phantom_read,
    "offset-regression": offset_regression,
}


def explain(
    seen: Observations,
    transfers: Transfers,
    outputs: Outputs,
    findings: Sequence[Finding],
    context: CheckContext,
) -> tuple[Anomaly, ...]:
    """In order of name, then partition."""
    if not findings:
        return ()
    place = scene(seen, context)

    def out_of(finding: Finding) -> tuple[int, str] | None:
        final = seen.partitions[finding.partition].final if finding.partition in seen.partitions else None
        if finding.name not in ("eos-loss", "eos-duplicate") or final is None:
            return None
        return len(final.values), "inputs"

    return anomalies_of(
        seen.history,
        findings,
        context,
        explain=lambda finding, ops: EXPLANATIONS[finding.name](
            Case(place, transfers, outputs, finding, ops)
        ),
        faults=place.faults,
        out_of=out_of,
    )
