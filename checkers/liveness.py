"""Checker `liveness`: when the faults are over, does everybody get on again?

    producer-stuck   since the last fault ended nothing a producer tried has succeeded, for longer than everything that
                     may legally hold it up takes
    lso-stuck        since the last fault ended, and for as long, an open transaction hides the end of a table from
                     readers of committed records (of a log, checker `log` says so)

A producer is a transactional id where the operation names one (`transactional_id`, or the `key` of a `txn`), else a
process. What was tried during faults, or so soon after them that a time-out may still run, proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from checkers.narrative import seconds
from checkers.violations import Violation, answer, distinct
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Operation
from harness.results import Result

WRITING = frozenset({"send", "transfer", "txn", "put", "enqueue"})
NS_PER_MS = 1_000_000
SLACK_MS = 5_000.0
"""What elections, coordinators and clients may take beyond their time-outs."""
MOST_SHOWN = 10


class LivenessChecker:
    description = "after the last fault every producer gets on, and no transaction stays open for ever"
    anomalies: Mapping[str, str] = {
        "producer-stuck": "after the last fault a producer tried for longer than all time-outs take, and nothing succeeded",
        "lso-stuck": "a transaction never ends, so that readers of committed records stop at it for ever",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        quiet_since = max((fault.time for fault in history.faults), default=0)
        patience_ns = int(_patience_ms(context.config) * NS_PER_MS)
        attempts: dict[str, list[Operation]] = {}
        for operation in history.operations:
            if operation.f in WRITING and operation.start >= quiet_since:
                attempts.setdefault(_producer(operation), []).append(operation)
        found = [
            stuck
            for name, tried in attempts.items()
            if (stuck := _stuck(name, tried, quiet_since, patience_ns)) is not None
        ]
        found += _hidden(history, quiet_since, patience_ns)
        tried = sum(map(len, attempts.values()))
        succeeded = sum(o.outcome == "ok" for operations in attempts.values() for o in operations)
        doubt = None
        if not succeeded:
            doubt = f"0 of {tried} writes that were tried after the last fault succeeded: whether producers get on is not known"
        return answer(
            "liveness",
            history,
            context,
            found,
            doubt=doubt,
            measures={
                "producers": len(attempts),
                "tried_after_the_last_fault": tried,
                "succeeded_after_the_last_fault": succeeded,
                "patience_ms": round(patience_ns / NS_PER_MS),
            },
        )


def _patience_ms(config: Mapping[str, object]) -> float:
    """The longest that a producer may be held up by what the faults left behind: a predecessor's transaction until it
    is timed out, a batch until it is given up."""
    transaction = float(str(config.get("transaction.timeout.ms", 10_000)))
    delivery = float(str(config.get("delivery.timeout.ms", 15_000)))
    return max(transaction, delivery) + SLACK_MS


def _producer(operation: Operation) -> str:
    completion = operation.completion
    named = None if completion is None else completion.extra.get("transactional_id")
    if named is None and operation.f in ("txn", "transfer"):
        named = f"{operation.f} {operation.invoke.key}"
    return f"process {operation.process}" if named is None else str(named)


def _stuck(name: str, tried: list[Operation], since: int, patience_ns: int) -> Violation | None:
    """A producer of which nothing succeeded from its first try to a last one that was begun, or ended, long after."""
    if any(operation.outcome == "ok" for operation in tried):
        return None
    ends = [o.completion.time if o.completion is not None else o.start for o in tried]
    if max(ends) - tried[0].start < patience_ns:
        return None
    error = tried[-1].completion.error if tried[-1].completion is not None else None
    why = "" if error is None else f", the last with {error}"
    return Violation(
        name="producer-stuck",
        where=name,
        sentence=(
            f"none of its {len(tried)} writes from {seconds(tried[0].start)} to {seconds(max(ends))} succeeded{why}, "
            f"although the last fault had ended at {seconds(since)}"
        ),
        operations=distinct((tried[0], tried[-1])),
    )


def _hidden(history: History, since: int, patience_ns: int) -> list[Violation]:
    """The last view of a table that was read from its beginning still ends below the high watermark."""
    last: dict[str, Operation] = {}
    for operation in history.operations:
        if operation.f == "view" and operation.outcome == "ok" and operation.completion is not None:
            for name in operation.completion.extra.get("hidden", {}):
                last[str(name)] = operation
            for name in operation.completion.extra.get("ends", {}):
                if name not in operation.completion.extra.get("hidden", {}):
                    last.pop(str(name), None)
    return [
        Violation(
            name="lso-stuck",
            where=name,
            sentence=(
                f"at {seconds(operation.start)} readers of committed records still could not pass "
                f"{operation.completion.extra['ends'].get(name)}, although the log goes on to "
                f"{operation.completion.extra['hidden'][name]} and the last fault had ended at {seconds(since)}"
            ),
            operations=(operation,),
        )
        for name, operation in sorted(last.items())
        if operation.completion is not None and operation.start - since >= patience_ns
    ]
