"""Checker `skew`: how even a keyed load is, what evenness costs, and whether counts by key come out right.

    send    `record_key`; the ok's `offset`
    poll    the ok's value: records [partition, offset, value]; `remaining` 0: its consumer had come to the end
    total   the ok's value: key -> count, asked for when everything had been processed

Measured: records of each partition and how much the fullest has above the mean; the most that each lagged; of the
records of a key, how many were processed before one that was sent earlier. None of these is a violation. A total is
one if it is less than what was acknowledged, or more than what was tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from checkers.keyed_order import inversions, processings
from checkers.violations import Violation, answer, blamed, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Blame, Result


class SkewChecker:
    description = "measures: skew and lag by partition, order lost; and whether counts by key are right"
    anomalies: Mapping[str, str] = {
        "counter-under": "the total of a key is less than what was acknowledged",
        "counter-over": "the total of a key is more than what was tried",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        sends = [o for o in history.operations if o.f == "send" and "record_key" in o.invoke.extra]
        acknowledged = [o for o in sends if o.outcome == "ok"]
        totals = [o for o in history.operations if o.f == "total" and o.outcome == "ok"]
        found = [violation for total in totals for violation in _wrong(total, sends)]
        doubt = None
        if not acknowledged:
            doubt = f"none of {len(sends)} keyed sends was acknowledged"
        elif not totals:
            doubt = f"no total was told of {len(acknowledged)} acknowledged sends"
        result = answer(
            "skew", history, context, found, doubt=doubt, measures=_measures(history.operations, acknowledged)
        )
        if context.config.get("hot-key.strategy") == "salted" and not context.bugs:
            # Asking one of those that share a key is how the application is written.
            return blamed(result, lambda anomaly: Blame.WORKLOAD)
        return result


def _wrong(total: Operation, sends: Sequence[Operation]) -> list[Violation]:
    assert total.completion is not None
    least: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for send in sends:
        key = str(send.invoke.extra["record_key"])
        if send.outcome != "fail" and send.invoke.index < total.completion.index:
            most[key] += 1
        if (
            send.outcome == "ok"
            and send.completion is not None
            and send.completion.index < total.invoke.index
        ):
            least[key] += 1
    found: list[Violation] = []
    for key in sorted(most.keys() | total.value.keys()):
        told = int(total.value.get(key, 0))
        if least[key] <= told <= most[key]:
            continue
        under = told < least[key]
        bound = f"{least[key]} were acknowledged" if under else f"only {most[key]} can have been sent"
        found.append(
            Violation(
                name="counter-under" if under else "counter-over",
                where=where(key, "count"),
                sentence=f"process {total.process} was told that it has {told} records, but {bound}",
                operations=(total,),
                value=told,
            )
        )
    return found


def _measures(operations: Sequence[Operation], acknowledged: Sequence[Operation]) -> dict[str, Any]:
    records = Counter(str(o.invoke.key) for o in acknowledged)
    read_back = {str(o.invoke.key) for o in operations if o.f == "final-read"}
    names = sorted(records.keys() | read_back, key=_natural)
    lag = most_lag(operations, names)
    mean = sum(records.values()) / len(names) if names else 0
    judged, inverted = _order(operations, acknowledged)
    return {
        "partitions": {n: {"records": records[n], "most_lag": lag.get(n, 0)} for n in names},
        "fullest_over_mean": round(max(records.values()) / mean, 3) if mean else None,
        "most_lag": max(lag.values(), default=0),
        "records_judged_for_order": judged,
        "out_of_order": inverted,
    }


def _natural(name: str) -> tuple[str, int]:
    topic, _, index = name.rpartition("/")
    return topic, int(index) if index.isdecimal() else 0


def most_lag(operations: Sequence[Operation], partitions: Sequence[str]) -> dict[str, int]:
    """The most acknowledged records of each partition that no poll had returned yet, whenever its consumer polled."""
    ends = dict.fromkeys(partitions, 0)
    stood = dict.fromkeys(partitions, 0)
    most = dict.fromkeys(partitions, 0)
    done = succeeded(operations, "send", "poll")
    for operation in sorted(done, key=lambda o: o.completion.index if o.completion else 0):
        assert operation.completion is not None
        if operation.f == "send":
            name, offset = str(operation.invoke.key), operation.completion.extra.get("offset")
            if offset is not None and name in ends:
                ends[name] = max(ends[name], int(offset) + 1)
            continue
        for name, offset, _ in operation.completion.value or ():
            stood[str(name)] = max(stood.get(str(name), 0), int(offset) + 1)
        for name in partitions:
            most[name] = max(most[name], ends[name] - stood[name])
    return most


def _order(operations: Sequence[Operation], acknowledged: Sequence[Operation]) -> tuple[int, int]:
    """Records whose place in their key's order is known, and how many of them were out of it."""
    processed = processings(operations)
    by_key: dict[str, list[Any]] = {}
    for send in acknowledged:
        value = freeze(send.invoke.value)
        if value in processed:
            by_key.setdefault(str(send.invoke.extra["record_key"]), []).append((send, processed[value]))
    inverted = sum(len(inversions(key, seen)) for key, seen in by_key.items())
    return sum(max(0, len(seen) - 1) for seen in by_key.values()), inverted
