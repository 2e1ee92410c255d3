"""Checker `fifo`: elements of one producer come out of a partition of a queue in the order in which they went in.

    enqueue   `partition` says where; elements of one process follow one another
    dequeue   the ok's value: the element taken, null where there was none

Two dequeues are in order where one had ended before the other began; what overlaps proves nothing. What was put in with
unknown outcome has no place in the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.violations import Violation, answer, before, quoted, succeeded
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result


class FifoChecker:
    description = "a queue gives out each producer's elements in order, partition by partition"
    anomalies: Mapping[str, str] = {
        "reordered": "an element was taken although one that its producer had put in earlier was taken only later",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        takes: dict[Any, Operation] = {}
        for take in succeeded(history.operations, "dequeue"):
            if take.value is not None:
                takes.setdefault(freeze(take.value), take)
        lanes: dict[tuple[str, Any], list[Operation]] = {}
        for put in succeeded(history.operations, "enqueue"):
            if freeze(put.invoke.value) in takes:
                lanes.setdefault((str(put.invoke.extra.get("partition", "queue")), put.process), []).append(
                    put
                )
        found: list[Violation] = []
        judged = 0
        for (partition, _), puts in lanes.items():
            judged += len(puts) - 1
            found += _inversions(partition, [(put, takes[freeze(put.invoke.value)]) for put in puts])
        doubt = None if judged else f"of {len(takes)} elements taken no two are of one producer and partition"
        return answer(
            "fifo",
            history,
            context,
            found,
            doubt=doubt,
            measures={"judged": judged, "reordered": len(found)},
        )


def _inversions(partition: str, lane: list[tuple[Operation, Operation]]) -> list[Violation]:
    """One for each element that was taken before one put in earlier; the latest-taken of those stands for them."""
    found: list[Violation] = []
    latest: tuple[Operation, Operation] | None = None
    for put, take in lane:
        if latest is not None and before(take, latest[1]):
            first, late = latest
            found.append(
                Violation(
                    name="reordered",
                    where=partition,
                    sentence=(
                        f"process {put.process} put in {quoted(first.invoke.value)} before {quoted(put.invoke.value)}, "
                        f"but process {take.process} had taken {quoted(put.invoke.value)} when process "
                        f"{late.process} took {quoted(first.invoke.value)}"
                    ),
                    operations=(first, put, take, late),
                    value=put.invoke.value,
                )
            )
        if latest is None or take.invoke.index > latest[1].invoke.index:
            latest = (put, take)
    return found
