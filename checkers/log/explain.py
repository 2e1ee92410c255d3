"""What the `log` checker found, for a reader: a sentence, a story and the material of a picture for each anomaly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from checkers.findings import Explanation, Finding, anomalies_of
from checkers.log.explain_loss import (
    end_offset_shrank,
    inconsistent,
    lost,
    sent_back,
    unseen,
    vanished,
)
from checkers.log.explain_order import (
    aborted_read,
    duplicate,
    lso_stuck,
    phantom_read,
    reordered,
    skipped,
)
from checkers.log.lost import acknowledged_count
from checkers.log.observations import Observations
from checkers.log.scene import Scene, scene
from harness.checker import CheckContext
from harness.ops import Op
from harness.results import Anomaly

EXPLANATIONS: Mapping[str, Callable[[Scene, Finding, list[Op]], Explanation]] = {
    "lost-write": lost,
    "unseen": unseen,
    "duplicate": duplicate,
    "inconsistent-offsets": inconsistent,
    "vanished-read": vanished,
    "aborted-read": aborted_read,
    "phantom-read": phantom_read,
    "nonmonotonic-send": reordered,
    "int-nonmonotonic-send": reordered,
    "poll-skip": skipped,
    "int-poll-skip": skipped,
    "nonmonotonic-poll": sent_back,
    "nonmonotonic-end-offset": end_offset_shrank,
    "lso-stuck": lso_stuck,
}


def explain(seen: Observations, findings: Sequence[Finding], context: CheckContext) -> tuple[Anomaly, ...]:
    """In order of name, then partition."""
    if not findings:
        return ()
    place = scene(seen, context)

    def out_of(finding: Finding) -> tuple[int, str] | None:
        if finding.name not in ("lost-write", "unseen"):
            return None
        return acknowledged_count(seen, seen.partitions[finding.partition]), "acknowledged records"

    return anomalies_of(
        seen.history,
        findings,
        context,
        explain=lambda finding, ops: EXPLANATIONS[finding.name](place, finding, ops),
        faults=place.faults,
        out_of=out_of,
        allowed=frozenset({"unseen"}),
    )
