"""Checkers `set` and `set-full`: what was added and never removed stays there. Operations: see `elements`.

`set` judges the final reads alone. `set-full` follows every element through all reads: once an element is known (its
add was acknowledged, or a read has it) every read that begins later should have it. One that is absent and comes
back was only late, which is a violation where the set claims to be linearizable (`set.linearizable`) and told
otherwise; one that no read has again, after a read that should have, is lost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from checkers.elements import Elements, final_doubt
from checkers.violations import Violation, answer, by_key, distinct, kinds, quoted
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Operation
from harness.results import Result

FUNCTIONS = ("add", "remove", "read", "final-read")
BOTH = {
    "phantom-read": "an element was read that nobody added, or before its add began",
    "aborted-read": "an element was read whose add certainly failed",
    "duplicate": "one read has an element twice",
}


class SetChecker:
    description = "the final read has every element whose add was acknowledged"
    anomalies: Mapping[str, str] = {
        "lost-write": "an acknowledged element is absent from the final read and was never removed",
        **BOTH,
    }

    def check(self, history: History, context: CheckContext) -> Result:
        sets = _sets(history)
        found = [
            v for s in sets for v in (*s.missing_at_last("lost-write"), *s.unexpected(), *s.duplicated())
        ]
        return _answer("set", history, context, sets, found, final_doubt(sets, _adds(history)))


class SetFullChecker:
    description = "every element stays visible from when it is known"
    anomalies: Mapping[str, str] = {
        "lost-write": "an acknowledged element is absent from a read, and no read has it from then on",
        "stale-read": "a known element is absent from a read, and there again later",
        **BOTH,
    }

    def check(self, history: History, context: CheckContext) -> Result:
        sets = _sets(history)
        found: list[Violation] = []
        outcomes = dict.fromkeys(("stable", "lost", "stale", "never-read", "recovered"), 0)
        for one in sets:
            found += one.unexpected() + one.duplicated()
            for element in one.adds:
                if element in one.removes:
                    continue
                outcome, violation = _followed(one, element)
                outcomes[outcome] += 1
                found += [] if violation is None else [violation]
        doubt = None
        if not any(one.acknowledged for one in sets):
            doubt = f"none of {_adds(history)} adds succeeded"
        elif not any(one.reads for one in sets):
            doubt = f"nothing was read of {sum(len(one.acknowledged) for one in sets)} acknowledged elements"
        elif outcomes["never-read"]:
            doubt = f"no read began after {outcomes['never-read']} acknowledged elements: lost or late"
        claimed = bool(context.config.get("set.linearizable", False))
        allowed = frozenset() if claimed else frozenset({"stale-read"})
        return _answer("set-full", history, context, sets, found, doubt, outcomes, allowed)


def _sets(history: History) -> list[Elements]:
    every = [o for o in history.operations if o.f in FUNCTIONS]
    return [Elements(key, operations) for key, operations in by_key(every).items()]


def _adds(history: History) -> int:
    return len(kinds(history.operations, "add"))


def _answer(
    checker: str,
    history: History,
    context: CheckContext,
    sets: list[Elements],
    found: list[Violation],
    doubt: str | None,
    outcomes: Mapping[str, int] | None = None,
    allowed: frozenset[str] = frozenset(),
) -> Result:
    acknowledged = sum(len(s.acknowledged) for s in sets)
    measures: dict[str, Any] = {"acknowledged": acknowledged, "reads": sum(len(s.reads) for s in sets)}
    return answer(
        checker,
        history,
        context,
        found,
        doubt=doubt,
        measures={**measures, **(outcomes or {})},
        out_of={("lost-write", s.where): (len(s.acknowledged), "acknowledged elements") for s in sets},
        allowed=allowed,
    )


def _followed(one: Elements, element: Any) -> tuple[str, Violation | None]:
    """What became of an element, and the proof where that is bad."""
    having = [read for read in one.reads if one.has(read, element)]
    add = one.acknowledged.get(element)
    known = _known_at(add, having)
    if known is None:
        return "stable", None
    place = bisect_left(one.reads, known, key=lambda read: read.invoke.index)
    later = one.reads[place:]
    without = [read for read in later if not one.has(read, element)]
    if not without:
        if not later and add is not None:
            return "never-read" if not having else "stable", None
        return "stable" if add is not None else "recovered", None
    last = without[-1]
    back = next((read for read in having if _end(read) > last.invoke.index), None)
    writer = one.adds[element][0] if add is None else add
    seen = having[0] if having else None
    if back is None:
        return "lost", _absent(one, element, writer, last, seen, None)
    again = next(read for read in having if _end(read) > without[0].invoke.index)
    return "stale", _absent(one, element, writer, without[0], seen, again)


def _known_at(add: Operation | None, having: list[Operation]) -> int | None:
    ends = [_end(read) for read in having]
    return min([*ends, *([] if add is None else [_end(add)])], default=None)


def _end(operation: Operation) -> int:
    assert operation.completion is not None
    return operation.completion.index


def _absent(
    one: Elements,
    element: Any,
    add: Operation,
    read: Operation,
    seen: Operation | None,
    again: Operation | None,
) -> Violation:
    known = "was acknowledged" if add.outcome == "ok" else "was read"
    after = (
        "and no read has it from then on" if again is None else f"and process {again.process} reads it later"
    )
    operations = [add, *([] if seen is None else [seen]), read, *([] if again is None else [again])]
    return Violation(
        name="lost-write" if again is None else "stale-read",
        where=one.where,
        sentence=(
            f"{quoted(element)}, added by process {add.process}, {known}, is absent from what process {read.process} "
            f"read later, {after}"
        ),
        operations=distinct(operations),
        value=element,
    )
