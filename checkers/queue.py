"""Checker `total-queue`: what was put in comes out, once, in whatever order.

    enqueue   value: an element, never used twice
    dequeue   the ok's value: the element taken, null where there was none
    drain     the ok's value: a list of elements taken; ok means that the queue was empty afterwards; `log_start`, by
              partition: what lies below was removed

An `info` dequeue may have taken the element that it names, or, where it names none, any: as many missing elements as
there are of those prove nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from checkers.violations import (
    Violation,
    answer,
    before,
    blamed,
    by_key,
    distinct,
    kinds,
    quoted,
    succeeded,
    where,
)
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Blame, Result


class TotalQueueChecker:
    description = "every acknowledged element is taken from the queue exactly once"
    anomalies: Mapping[str, str] = {
        "lost-write": "an acknowledged element was never taken although the queue was drained",
        "consume-lost": "an acknowledged element was removed by retention before it was taken",
        "duplicate": "one element was taken twice",
        "phantom-read": "an element was taken that nobody put in",
        "aborted-read": "an element was taken whose enqueue certainly failed",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        found: list[Violation] = []
        doubts: list[str] = []
        out_of: dict[tuple[str, str], tuple[int, str]] = {}
        acknowledged = recovered = taken = 0
        every = [o for o in history.operations if o.f in ("enqueue", "dequeue", "drain")]
        for key, operations in by_key(every).items():
            queue = _Queue(key, operations)
            found += queue.unexpected() + queue.duplicates()
            lost, doubt = queue.lost()
            found += lost
            doubts += [] if doubt is None else [doubt]
            for name in ("lost-write", "consume-lost"):
                out_of[name, queue.where] = len(queue.acknowledged), "acknowledged elements"
            acknowledged += len(queue.acknowledged)
            recovered += sum(
                1
                for o in queue.puts.values()
                if o.outcome == "info" and freeze(o.invoke.value) in queue.takes
            )
            taken += sum(len(takes) for takes in queue.takes.values())
        if not acknowledged:
            doubts = [f"none of {len(every)} operations put anything in with success"]
        measures = {"acknowledged": acknowledged, "taken": taken, "recovered": recovered}
        result = answer(
            "total-queue",
            history,
            context,
            found,
            doubt=doubts[0] if doubts else None,
            measures=measures,
            out_of=out_of,
        )
        if context.bugs:
            return result
        # Retention is what somebody asked for.
        return blamed(result, lambda anomaly: Blame.CONFIGURATION if anomaly.name == "consume-lost" else None)


class _Queue:
    def __init__(self, key: Any, operations: list[Operation]) -> None:
        self.where = where(key, "queue")
        self.puts = {freeze(o.invoke.value): o for o in kinds(operations, "enqueue")}
        self.failed = {
            freeze(o.invoke.value): o for o in operations if o.f == "enqueue" and o.outcome == "fail"
        }
        self.acknowledged = {v: o for v, o in self.puts.items() if o.outcome == "ok"}
        self.takes: dict[Any, list[Operation]] = {}
        for operation in succeeded(operations, "dequeue", "drain"):
            elements = operation.value if operation.f == "drain" else [operation.value]
            for element in elements or ():
                if element is not None:
                    self.takes.setdefault(freeze(element), []).append(operation)
        unknown = [o for o in operations if o.f in ("dequeue", "drain") and o.outcome == "info"]
        self.unsure = [o for o in unknown if o.value is None]
        self.maybe_taken = {freeze(o.value) for o in unknown if o.f == "dequeue" and o.value is not None}
        self.drains = succeeded(operations, "drain")

    def unexpected(self) -> list[Violation]:
        found: list[Violation] = []
        for element, takes in self.takes.items():
            if element in self.puts:
                continue
            failed = self.failed.get(element)
            why = (
                "nobody had put it in"
                if failed is None
                else f"its enqueue by process {failed.process} had failed"
            )
            found.append(
                Violation(
                    name="phantom-read" if failed is None else "aborted-read",
                    where=self.where,
                    sentence=f"process {takes[0].process} took {quoted(element)}, but {why}",
                    operations=(takes[0],) if failed is None else (failed, takes[0]),
                    value=element,
                )
            )
        return found

    def duplicates(self) -> list[Violation]:
        return [
            Violation(
                name="duplicate",
                where=self.where,
                sentence=(
                    f"{quoted(element)} was taken {len(takes)} times, first by process {takes[0].process} and "
                    f"process {takes[1].process}"
                ),
                operations=(self.puts[element], *distinct(takes)) if element in self.puts else tuple(takes),
                value=element,
            )
            for element, takes in self.takes.items()
            if len(takes) > 1
        ]

    def lost(self) -> tuple[list[Violation], str | None]:
        """And why some that are missing are not proven lost."""
        missing = {
            element: (put, drain)
            for element, put in self.acknowledged.items()
            if element not in self.takes
            and element not in self.maybe_taken
            and (drain := next((d for d in self.drains if before(put, d)), None)) is not None
        }
        accounted = self.takes.keys() | missing.keys() | self.maybe_taken
        undrained = Counter(e in accounted for e in self.acknowledged)[False]
        if len(missing) <= len(self.unsure):
            if missing:
                return [], (
                    f"{len(missing)} acknowledged elements of {self.where} are missing, but {len(self.unsure)} "
                    "takings with unknown outcome may have had them"
                )
            if undrained:
                return (
                    [],
                    f"{self.where} was not drained after {undrained} acknowledged elements that nobody took",
                )
            return [], None
        return [self._missing(element, put, drain) for element, (put, drain) in missing.items()], None

    def _missing(self, element: Any, put: Operation, drain: Operation) -> Violation:
        sentence = (
            f"{quoted(element)}, put in by process {put.process}, was never taken, and process "
            f"{drain.process} found the queue empty"
        )
        removed = _removed(put, drain)
        return Violation(
            name="consume-lost" if removed else "lost-write",
            where=self.where,
            sentence=f"{sentence}: retention had removed it" if removed else sentence,
            operations=(put, drain),
            value=element,
        )


def _removed(put: Operation, drain: Operation) -> bool:
    """Whether its place in the log is below where the log begins."""
    told = {} if put.completion is None else put.completion.extra
    begins = {} if drain.completion is None else dict(drain.completion.extra.get("log_start", ()))
    partition = put.invoke.extra.get("partition")
    return "offset" in told and int(told["offset"]) < int(begins.get(partition, 0))
