"""Histories too long to try every order: a valid verdict comes with an order that a naive program accepts, an
invalid one agrees with the search, and both with what was planted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_histories import register_history

from checkers.linearizable.checker import LinearizableChecker
from checkers.linearizable.models import MODELS
from checkers.linearizable.order import order_of
from checkers.linearizable.partition import calls_of, objects
from checkers.linearizable.search import search
from checkers.linearizable.verify import legal_order
from checkers.linearizable.zones import zones
from harness.checker import CheckContext
from harness.columns import columns_of
from harness.history import History
from harness.ops import Op
from harness.results import Verdict

REGISTER = MODELS["cas-register"]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0.0, 0.0, 0.02, 0.2]))
def test_long_histories(seed: int, cas: bool, lie: float) -> None:
    history = register_history(random.Random(seed), most=150, cas=cas, lie=lie)
    columns = columns_of(history)
    calls, _ = calls_of(columns, REGISTER)
    every = objects(calls, columns)
    found = zones(calls, calls.values.index(None))
    searched = search(every, REGISTER)
    broken = bool(len(found.broken()))
    assert searched.legal is not broken
    if lie == 0 and not cas:
        assert not broken or has_failed_write_that_was_read(history)
    if not broken:
        by_row = {call.row: call for call in every}
        assert legal_order([by_row[row] for row in order_of(found)], every, REGISTER)


def has_failed_write_that_was_read(history: History) -> bool:
    """The drawn registers fail a write now and then that took effect."""
    return any(op.type == "fail" for op in history)


def test_what_search_cannot_decide_in_its_budget_is_unknown_and_not_a_hang() -> None:
    """Writes of a few values over and over, all at the same time, many with unknown outcome."""
    rng = random.Random(1)
    ops: list[Op] = []

    def event(process: int, type: str, f: str, value: object) -> None:
        ops.append(
            Op(index=len(ops), time=len(ops), process=process, type=type, f=f, key="x", value=value)  # type: ignore[arg-type]
        )

    for process in range(60):
        event(process, "invoke", "write" if process % 2 else "read", process % 7 if process % 2 else None)
    for process in rng.sample(range(60), 60):
        if process % 2:
            event(process, "ok" if process % 3 else "info", "write", process % 7)
        else:
            event(process, "ok", "read", rng.randrange(7))
    event(99, "invoke", "read", None)
    event(99, "ok", "read", 8)
    event(99, "invoke", "write", 8)
    event(99, "ok", "write", 8)
    budget = CheckContext(config={"linearizable.states": 20_000})
    result = LinearizableChecker().check(History(ops), budget)
    assert result.verdict is Verdict.UNKNOWN
    assert "20001" in str(result.reason)
    assert "1 of 1 keys" in str(result.reason)


@pytest.mark.parametrize("name", ["counter", "queue", "set", "lock"])
def test_a_model_is_chosen_by_its_name(name: str) -> None:
    right: dict[str, list[tuple[str, object, object]]] = {
        "counter": [("add", 2, 2), ("decrement", None, None), ("read", None, 1)],
        "queue": [("enqueue", 1, 1), ("enqueue", 2, 2), ("dequeue", None, 1), ("dequeue", None, 2)],
        "set": [("add", 1, 1), ("add", 2, 2), ("remove", 1, 1), ("read", None, [2])],
        "lock": [("acquire", None, None), ("release", None, None), ("acquire", None, None)],
    }
    wrong = {
        "counter": ("read", None, 7),
        "queue": ("dequeue", None, 9),
        "set": ("read", None, [1]),
        "lock": ("acquire", None, None),
    }
    context = CheckContext(options={"model": name})

    def history(steps: list[tuple[str, object, object]]) -> History:
        ops: list[Op] = []
        for f, asked, answered in steps:
            for type, value in (("invoke", asked), ("ok", answered)):
                n = len(ops)
                ops.append(Op(index=n, time=n, process=0, type=type, f=f, value=value))  # type: ignore[arg-type]
        return History(ops)

    assert LinearizableChecker().check(history(right[name]), context).verdict is Verdict.VALID
    broken = LinearizableChecker().check(history([*right[name], wrong[name]]), context)
    assert broken.verdict is Verdict.INVALID
    [anomaly] = broken.anomalies
    assert anomaly.data["prefix_operations"] == len(right[name]) + 1
    assert "fits no legal order" in anomaly.summary


def test_a_key_that_is_broken_all_over_is_explained_by_its_first_contradiction() -> None:
    """Every read but the first answers something old: the proof stays small and is found fast."""
    ops: list[Op] = []

    def whole(f: str, asked: int | None, answered: int | None) -> None:
        for type, value in (("invoke", asked), ("ok", answered)):
            n = len(ops)
            ops.append(Op(index=n, time=n, process=0, type=type, f=f, key="x", value=value))  # type: ignore[arg-type]

    for value in range(3_000):
        whole("write", value, value)
        whole("read", None, value if value == 0 else 0)
    result = LinearizableChecker().check(History(ops), CheckContext())
    [anomaly] = result.anomalies
    assert anomaly.data["label"] == "lost-write"
    assert anomaly.data["prefix_operations"] == 4
    assert anomaly.ops == (0, 1, 4, 5, 6, 7)
