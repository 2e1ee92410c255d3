"""Checker `lost-update`: no acknowledged read-modify-write is undone by another that had not seen it.

Operations: see `elements`, where `add` is a client's read, change and write of the whole set. The final read must
have every acknowledged element that nobody removed.
"""

from __future__ import annotations

from collections.abc import Mapping

from checkers.elements import Elements, final_doubt
from checkers.violations import answer, by_key, kinds
from harness.checker import CheckContext
from harness.history import History
from harness.results import Result


class LostUpdateChecker:
    description = "every acknowledged read-modify-write is in the final value"
    anomalies: Mapping[str, str] = {
        "lost-update": "the element of an acknowledged read-modify-write is missing though nobody removed it",
        "phantom-read": "an element was read that nobody added, or before its add began",
        "aborted-read": "an element was read whose add certainly failed",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        every = [o for o in history.operations if o.f in ("add", "remove", "read", "final-read")]
        sets = [Elements(key, operations) for key, operations in by_key(every).items()]
        found = [v for one in sets for v in (*one.missing_at_last("lost-update"), *one.unexpected())]
        acknowledged = sum(len(one.acknowledged) for one in sets)
        return answer(
            "lost-update",
            history,
            context,
            found,
            doubt=final_doubt(sets, len(kinds(every, "add"))),
            measures={"acknowledged": acknowledged, "final_reads": sum(len(one.finals) for one in sets)},
            out_of={("lost-update", s.where): (len(s.acknowledged), "acknowledged elements") for s in sets},
        )
