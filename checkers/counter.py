"""Checker `counter`: what is read stays within what was added.

    add (increment), decrement   value: the amount, 1 where none is given
    read, final-read             the ok's value: a number

A read while the clients run may be old, so it only has to lie between all decrements and all increments that had
begun when it ended. A `final-read`, after heal and quiesce, has to contain everything that was acknowledged before
it and nothing but what had begun; with `counter.linearizable` every read has to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate

from checkers.violations import Violation, answer, by_key, kinds, quoted, succeeded, where
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Operation
from harness.results import Result

ADDS, TAKES = ("add", "inc", "increment"), ("decr", "decrement", "subtract")


class CounterChecker:
    description = "a counter contains every acknowledged increment once"
    anomalies: Mapping[str, str] = {
        "counter-under": "a value that is less than what was acknowledged leaves room for",
        "counter-over": "a value that is more than everything that was tried",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        found: list[Violation] = []
        strict = bool(context.config.get("counter.linearizable", False))
        every = [o for o in history.operations if o.f in (*ADDS, *TAKES, "read", "final-read")]
        for key, operations in by_key(every).items():
            found += _of_key(key, operations, strict)
        reads = succeeded(every, "read", "final-read")
        finals = succeeded(every, "final-read")
        acknowledged = succeeded(every, *ADDS, *TAKES)
        doubt = None
        if not acknowledged:
            doubt = f"none of {len(every)} operations added anything with success"
        elif not (reads if strict else finals):
            doubt = f"there is no final read after {len(acknowledged)} acknowledged additions"
        measures = {"acknowledged": len(acknowledged), "reads": len(reads), "final_reads": len(finals)}
        return answer("counter", history, context, found, doubt=doubt, measures=measures)


class _Sums:
    """Of amounts with one sign: how much had begun, and how much had been acknowledged, at a place in the history."""

    def __init__(self, changes: list[tuple[Operation, float]]) -> None:
        begun = sorted((o.invoke.index, amount) for o, amount in changes)
        done = sorted(
            (o.completion.index, amount)
            for o, amount in changes
            if o.outcome == "ok" and o.completion is not None
        )
        self._begun = [place for place, _ in begun], [0.0, *accumulate(a for _, a in begun)]
        self._done = [place for place, _ in done], [0.0, *accumulate(a for _, a in done)]

    def begun(self, place: int) -> float:
        return self._begun[1][bisect_left(self._begun[0], place)]

    def done(self, place: int) -> float:
        return self._done[1][bisect_left(self._done[0], place)]


def _of_key(key: object, operations: list[Operation], strict: bool) -> list[Violation]:
    changes = [(o, _amount(o)) for o in kinds(operations, *ADDS, *TAKES)]
    more = _Sums([(o, amount) for o, amount in changes if amount > 0])
    less = _Sums([(o, amount) for o, amount in changes if amount < 0])
    found: list[Violation] = []
    for read in succeeded(operations, "read", "final-read"):
        assert read.completion is not None
        value, start, end = read.value or 0, read.invoke.index, read.completion.index
        exact = strict or read.f == "final-read"
        least = less.begun(end) + (more.done(start) if exact else 0)
        most = more.begun(end) + (less.done(start) if exact else 0)
        if least <= value <= most:
            continue
        under = value < least
        beyond = f"at least {least:g}" if under else f"at most {most:g}"
        found.append(
            Violation(
                name="counter-under" if under else "counter-over",
                where=where(key, "counter"),
                sentence=f"process {read.process}'s {read.f} answered {quoted(value)}, but it must be {beyond}",
                operations=(read,),
                value=value,
            )
        )
    return found


def _amount(operation: Operation) -> float:
    amount = 1 if operation.invoke.value is None else operation.invoke.value
    return -amount if operation.f in TAKES else amount
