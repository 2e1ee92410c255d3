"""What must not change a verdict: other names, other indices and times, what has nothing to do with it, more of the same."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from multi_version_store import LEVELS, Store
from test_against_brute_force import mutated

from checkers.transactions import ElleChecker
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Op

CASES = [(level, lists, seed) for level in LEVELS for lists in (True, False) for seed in range(3)]
Case = tuple[History, bool]


@pytest.fixture(params=CASES, ids=lambda c: f"{c[0]}-{'list' if c[1] else 'register'}-{c[2]}")
def case(request: pytest.FixtureRequest) -> Case:
    level, lists, seed = request.param
    rng = random.Random(f"metamorphic {level} {lists} {seed}")
    history = Store(rng, level, lists=lists, crash=0.1).run(30, processes=4, keys=3)
    return (mutated(rng, history, lists=lists) if seed == 2 else history), lists


def names(history: History, lists: bool) -> set[str]:
    options = {"model": "list-append" if lists else "rw-register"}
    return {a.name for a in ElleChecker().check(history, CheckContext(options=options)).anomalies}


def ruled_out(history: History, lists: bool) -> Any:
    options = {"model": "list-append" if lists else "rw-register"}
    return ElleChecker().check(history, CheckContext(options=options)).measures["ruled_out"]


def renamed(history: History, suffix: str, process: int = 0) -> list[Op]:
    """Keys and values with other names, of another kind and in another order."""

    def micro(m: Any) -> Any:
        f, k, v = m
        value = (
            [f"{suffix}{999 - x}" for x in v]
            if isinstance(v, list)
            else None
            if v is None
            else f"{suffix}{999 - v}"
        )
        return [f, f"{suffix}{9 - k}", value]

    return [
        msgspec.structs.replace(op, process=int(op.process) + process, value=[micro(m) for m in op.value])
        for op in history.ops
    ]


def numbered(ops: list[Op]) -> History:
    return History(msgspec.structs.replace(op, index=i, time=i * 10) for i, op in enumerate(ops))


def test_other_names_of_keys_and_values(case: Case) -> None:
    history, lists = case
    assert names(History(renamed(history, "n")), lists) == names(history, lists)


def test_values_that_are_no_numbers(case: Case) -> None:
    """Lists and fractions, which have no place in an array."""
    history, lists = case

    def other(v: Any) -> Any:
        return ["v", v] if v % 2 else v + 0.5

    def micro(m: Any) -> Any:
        f, k, v = m
        seen = f == "r" and lists and v is not None
        return [f, [k, "k"], [other(x) for x in v] if seen else None if v is None else other(v)]

    ops = [msgspec.structs.replace(op, value=[micro(m) for m in op.value]) for op in history.ops]
    assert names(History(ops), lists) == names(history, lists)


def test_other_indices_and_times(case: Case) -> None:
    history, lists = case
    other = [msgspec.structs.replace(op, index=op.index * 7 + 3, time=op.time * 2 + 1) for op in history.ops]
    assert names(History(other), lists) == names(history, lists)


def test_the_same_once_more_with_other_names(case: Case) -> None:
    """Afterwards, at the same time, and interleaved."""
    history, lists = case
    first, second = history.ops, renamed(history, "n", 1000)
    assert names(numbered([*first, *second]), lists) == names(history, lists)
    mixed = [op for pair in zip(first, second, strict=True) for op in pair]
    assert set(ruled_out(numbered(mixed), lists)) == set(ruled_out(history, lists))


def test_operations_of_another_kind_and_of_the_nemesis(case: Case) -> None:
    history, lists = case
    ops: list[Op] = []
    for op in history.ops:
        ops.append(op)
        ops.append(Op(index=0, time=0, process=5000, type="invoke", f="other", value=[["?", 1, 2]]))
        ops.append(Op(index=0, time=0, process=5000, type="ok", f="other", value=3))
        ops.append(Op(index=0, time=0, process="nemesis", type="info", f="txn", value="cut"))
    assert names(numbered(ops), lists) == names(history, lists)


def test_an_unknown_transaction_that_nobody_saw(case: Case) -> None:
    history, lists = case
    f = "append" if lists else "w"
    unseen: list[Any] = [[f, 0, 100_001], [f, 1, 100_002], ["r", 2, None]]
    extra = [
        Op(index=0, time=0, process=7000, type="invoke", f="txn", value=unseen),
        Op(index=0, time=0, process=7000, type="info", f="txn", value=unseen),
    ]
    middle = len(history.ops) // 2
    added = numbered([*history.ops[:middle], *extra, *history.ops[middle:]])
    assert names(added, lists) == names(numbered(history.ops), lists)


def test_a_failed_transaction_that_nobody_saw(case: Case) -> None:
    history, lists = case
    unseen: list[Any] = [["append" if lists else "w", 0, 100_001]]
    extra = [
        Op(index=0, time=0, process=7000, type="invoke", f="txn", value=unseen),
        Op(index=0, time=0, process=7000, type="fail", f="txn", value=unseen),
    ]
    assert names(numbered([*extra, *history.ops]), lists) == names(numbered(history.ops), lists)


@pytest.mark.parametrize("seed", range(3))
def test_another_order_of_what_is_unrelated(case: Case, seed: int) -> None:
    """Two invocations, or two completions, of different processes: nothing begins after something else has ended that
    did not do so before."""
    history, lists = case
    ops, rng = list(history.ops), random.Random(seed)
    for _ in range(len(ops) * 3):
        at = rng.randrange(len(ops) - 1)
        one, other = ops[at], ops[at + 1]
        if one.process != other.process and (one.type == "invoke") == (other.type == "invoke"):
            ops[at], ops[at + 1] = other, one
    assert names(numbered(ops), lists) == names(numbered(history.ops), lists)
