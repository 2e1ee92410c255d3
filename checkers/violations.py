"""What a checker of client operations proves, and the answer made of it: for properties whose witness is a handful of
operations and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from checkers.findings import Explanation, Finding, anomalies_of
from checkers.narrative import quoted as in_quotes
from checkers.narrative import seconds
from checkers.outages import outages
from checkers.story import Beat
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Op, Operation
from harness.results import Anomaly, Blame, Moment, Result, Verdict


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One proven instance: `operations` are those that contradict each other, `sentence` has no full stop."""

    name: str
    where: str
    sentence: str
    operations: tuple[Operation, ...]
    value: Any = None


def answer(
    checker: str,
    history: History,
    context: CheckContext,
    violations: Sequence[Violation],
    *,
    doubt: str | None,
    measures: Mapping[str, Any],
    out_of: Mapping[tuple[str, str], tuple[int, str]] | None = None,
    allowed: frozenset[str] = frozenset(),
) -> Result:
    """`doubt` says, with a number, why silence would prove nothing; `out_of` of how many
    what an anomaly (its name and where it is) is a part."""
    found = [_finding(v) for v in violations]
    by_witness: dict[tuple[str, str, tuple[int, ...]], Violation] = {}
    for finding, violation in zip(found, violations, strict=True):
        by_witness.setdefault((finding.name, finding.partition, finding.ops), violation)
    whole = out_of or {}
    anomalies = anomalies_of(
        history,
        found,
        context,
        explain=lambda finding, _: _explained(by_witness[finding.name, finding.partition, finding.ops]),
        faults=outages(history),
        out_of=lambda finding: whole.get((finding.name, finding.partition)),
        allowed=allowed,
    )
    proven = any(not anomaly.allowed for anomaly in anomalies)
    reason = None if proven else doubt
    verdict = Verdict.INVALID if proven else Verdict.VALID if reason is None else Verdict.UNKNOWN
    return Result(
        checker=checker, verdict=verdict, reason=reason, anomalies=anomalies, measures=dict(measures)
    )


def _finding(violation: Violation) -> Finding:
    return Finding(
        name=violation.name,
        partition=violation.where,
        ops=tuple(dict.fromkeys(op.index for operation in violation.operations for op in events(operation))),
        value=violation.value,
    )


def events(operation: Operation) -> list[Op]:
    return [operation.invoke] if operation.completion is None else [operation.invoke, operation.completion]


def _explained(violation: Violation) -> Explanation:
    operations = violation.operations
    return Explanation(
        summary=f"{violation.where}: {violation.sentence}",
        beats=[Beat(told(operation)) for operation in operations],
        start=min(o.start for o in operations),
        end=max(events(o)[-1].time for o in operations),
    )


def told(operation: Operation) -> Moment:
    """`process 3 read x → 4: ok at 0.400 s`, at its beginning."""
    asked = "" if operation.invoke.value is None else f" {quoted(operation.invoke.value)}"
    answered = ""
    if operation.outcome == "ok" and freeze(operation.value) != freeze(operation.invoke.value):
        answered = f" → {quoted(operation.value)}"
    outcome = {"ok": "ok", "fail": "failed", "info": "outcome unknown"}[operation.outcome]
    at = "" if operation.end is None else f" at {seconds(operation.end)}"
    text = f"process {operation.process} {operation.f}{asked}{answered}: {outcome}{at}"
    return Moment(operation.start, text, op=operation.invoke.index)


def quoted(value: Any) -> str:
    return "`null`" if value is None else in_quotes(list(value) if isinstance(value, tuple) else value)


def where(key: Any, thing: str) -> str:
    """`key x`, or the thing itself where there is only one."""
    return f"the {thing}" if key is None else f"key {key}"


def by_key(operations: Iterable[Operation]) -> dict[Any, list[Operation]]:
    """In order of the keys' first appearance."""
    found: dict[Any, list[Operation]] = {}
    for operation in operations:
        found.setdefault(freeze(operation.invoke.key), []).append(operation)
    return found


def kinds(operations: Iterable[Operation], *names: str) -> list[Operation]:
    """Of these kinds, without those that certainly did not happen."""
    return [o for o in operations if o.f in names and o.outcome != "fail"]


def succeeded(operations: Iterable[Operation], *names: str) -> list[Operation]:
    return [o for o in operations if o.f in names and o.outcome == "ok"]


def distinct(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Each once, in the order given."""
    return tuple({operation.invoke.index: operation for operation in operations}.values())


def before(one: Operation, other: Operation) -> bool:
    """Did one end for certain before the other began? Decided by the order of events, not by their times."""
    return one.outcome == "ok" and one.completion is not None and one.completion.index < other.invoke.index


def blamed(result: Result, whose: Callable[[Anomaly], Blame | None]) -> Result:
    """The result with each anomaly laid to whom `whose` says; None leaves it where it is."""
    anomalies = tuple(
        anomaly if (blame := whose(anomaly)) is None else msgspec.structs.replace(anomaly, blame=blame)
        for anomaly in result.anomalies
    )
    return msgspec.structs.replace(result, anomalies=anomalies)
