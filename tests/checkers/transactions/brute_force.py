"""What a history can be, by trying every order: for a handful of transactions, and sharing nothing with the checker.

Transactions of unknown outcome may have been committed or not. `snapshot-isolation` is tried by its operational
form (each transaction reads a state some way back in the order of commits; nobody in between wrote what it
wrote), which Cerone and Gotsman (JACM 2018) prove equal to its axioms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, permutations
from typing import Any

from harness.history import History
from harness.ops import Operation

State = dict[Any, Any]


def possible(history: History, level: str) -> bool:
    """`serializable`, `strict-serializable` or `snapshot-isolation`."""
    sure = [op for op in history.operations if op.outcome == "ok"]
    maybe = [op for op in history.operations if op.outcome == "info"]
    return any(_ordered(order, level) for some in _subsets(maybe) for order in permutations([*sure, *some]))


def _subsets(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    return chain.from_iterable(combinations(operations, size) for size in range(len(operations) + 1))


def _ordered(order: Sequence[Operation], level: str) -> bool:
    if level == "strict-serializable" and any(
        _ended_before(later, earlier) for i, earlier in enumerate(order) for later in order[i + 1 :]
    ):
        return False
    states: list[State] = [{}]
    for place, operation in enumerate(order):
        back = range(place, -1, -1) if level == "snapshot-isolation" else (place,)
        if not any(
            _explains(states[s], operation) and not _overwritten(operation, order[s:place]) for s in back
        ):
            return False
        states.append(_after(states[-1], operation))
    return True


def _ended_before(first: Operation, second: Operation) -> bool:
    return first.end is not None and first.end < second.start


def _overwritten(operation: Operation, between: Sequence[Operation]) -> bool:
    return any(_written(operation) & _written(other) for other in between)


def _written(operation: Operation) -> set[Any]:
    return {k for f, k, _ in operation.value if f != "r"}


def _after(state: State, operation: Operation) -> State:
    after = dict(state)
    for f, k, v in operation.value:
        if f == "append":
            after[k] = [*(after.get(k) or []), v]
        elif f == "w":
            after[k] = v
    return after


def _explains(state: State, operation: Operation) -> bool:
    if operation.outcome != "ok":
        return True
    now = dict(state)
    for f, k, v in operation.value:
        if f == "append":
            now[k] = [*(now.get(k) or []), v]
        elif f == "w":
            now[k] = v
        elif (now.get(k) or None) != (v or None):
            return False
    return True
