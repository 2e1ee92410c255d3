"""Checker `lock`: one holder at a time, and fencing tokens that only grow.

    acquire   key, the ok's value or its field `token`: the fencing token, where the lock has them
    release   key

A process holds the lock for certain from the end of its acquire to the beginning of its release; one that never
releases, to the end of the last thing that it did with success. Tokens are compared where one acquire ended before
the other began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from checkers.violations import Violation, answer, before, by_key, quoted, succeeded, where
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Operation, Process
from harness.results import Result


class LockChecker:
    description = "a lock has one holder at a time, and its fencing tokens grow"
    anomalies: Mapping[str, str] = {
        "two-holders": "two clients held one lock at the same time",
        "fencing-order": "a later holder was given a token that is not greater than an earlier one's",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        found: list[Violation] = []
        last_done: dict[Process, int] = {}
        for operation in history.operations:
            if operation.outcome == "ok" and operation.completion is not None:
                last_done[operation.process] = operation.completion.index
        every = [o for o in history.operations if o.f in ("acquire", "release")]
        for key, operations in by_key(every).items():
            found += _overlaps(key, _holds(operations, last_done)) + _tokens(key, operations)
        acquired = succeeded(every, "acquire")
        doubt = (
            None
            if len(acquired) > 1
            else f"the lock was acquired {len(acquired)} times in {len(every)} tries"
        )
        return answer("lock", history, context, found, doubt=doubt, measures={"acquired": len(acquired)})


class _Hold(msgspec.Struct, frozen=True):
    start: int
    end: int
    acquire: Operation
    release: Operation | None


def _holds(operations: list[Operation], last_done: Mapping[Process, int]) -> list[_Hold]:
    holds: list[_Hold] = []
    held: dict[Process, Operation] = {}
    for operation in operations:
        if operation.f == "acquire" and operation.outcome == "ok":
            held.setdefault(operation.process, operation)
        elif operation.f == "release":
            acquire = held.pop(operation.process, None)
            if acquire is not None and acquire.completion is not None:
                holds.append(_Hold(acquire.completion.index, operation.invoke.index, acquire, operation))
    for process, acquire in held.items():
        assert acquire.completion is not None
        holds.append(_Hold(acquire.completion.index, last_done[process], acquire, None))
    return sorted(holds, key=lambda hold: hold.start)


def _overlaps(key: Any, holds: list[_Hold]) -> list[Violation]:
    found: list[Violation] = []
    longest: _Hold | None = None
    for hold in holds:
        if (
            longest is not None
            and hold.start < longest.end
            and hold.acquire.process != longest.acquire.process
        ):
            one, other = longest.acquire, hold.acquire
            releases = tuple(h.release for h in (longest, hold) if h.release is not None)
            found.append(
                Violation(
                    name="two-holders",
                    where=where(key, "lock"),
                    sentence=f"process {other.process} acquired it while process {one.process} held it",
                    operations=(one, other, *releases),
                )
            )
        if longest is None or hold.end > longest.end:
            longest = hold
    return found


def _tokens(key: Any, operations: list[Operation]) -> list[Violation]:
    """Every acquire against the greatest token among those that had ended when it began."""
    acquires = [(o, _token(o)) for o in succeeded(operations, "acquire")]
    with_token = [(o, token) for o, token in acquires if token is not None]
    ended = sorted(with_token, key=lambda pair: pair[0].completion.index if pair[0].completion else 0)
    found: list[Violation] = []
    greatest: tuple[Operation, Any] | None = None
    place = 0
    for operation, token in with_token:
        while place < len(ended) and before(ended[place][0], operation):
            if greatest is None or ended[place][1] > greatest[1]:
                greatest = ended[place]
            place += 1
        if greatest is not None and token <= greatest[1]:
            found.append(
                Violation(
                    name="fencing-order",
                    where=where(key, "lock"),
                    sentence=(
                        f"process {operation.process} was given token {quoted(token)} after process "
                        f"{greatest[0].process} had been given {quoted(greatest[1])}"
                    ),
                    operations=(greatest[0], operation),
                    value=token,
                )
            )
    return found


def _token(operation: Operation) -> Any:
    assert operation.completion is not None
    token = operation.completion.extra.get("token", operation.completion.value)
    return token if isinstance(token, int) and not isinstance(token, bool) else None
