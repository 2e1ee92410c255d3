"""Causal consistency: each bad pattern by hand beside its nearest legal neighbour, and all against a naive closure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.causal import CausalChecker
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Op
from harness.results import Verdict

Step = tuple[int, str, str, Any]
"""Process, w or r, key, value."""


def history(*steps: Step, info: tuple[int, ...] = ()) -> History:
    ops: list[Op] = []
    for at, (process, kind, key, value) in enumerate(steps):
        f = "write" if kind == "w" else "read"
        asked = value if kind == "w" else None
        index = len(ops)
        ops.append(Op(index=index, time=index, process=process, type="invoke", f=f, key=key, value=asked))
        outcome: Any = "info" if at in info else "ok"
        ops.append(
            Op(index=index + 1, time=index + 1, process=process, type=outcome, f=f, key=key, value=value)
        )
    return History(ops)


def names(*steps: Step, info: tuple[int, ...] = ()) -> set[str]:
    result = CausalChecker().check(history(*steps, info=info), CheckContext())
    return {anomaly.name for anomaly in result.anomalies}


CASES: dict[str, tuple[set[str], tuple[Step, ...]]] = {
    "a reply without its question": (
        {"WriteCOInitRead"},
        ((1, "w", "x", 1), (2, "r", "x", 1), (2, "w", "y", 2), (3, "r", "y", 2), (3, "r", "x", None)),
    ),
    "a question without its reply": (
        set(),
        ((1, "w", "x", 1), (2, "r", "x", 1), (2, "w", "y", 2), (3, "r", "y", None), (3, "r", "x", 1)),
    ),
    "back to what was overwritten": (
        {"WriteCORead"},
        ((1, "w", "x", 1), (1, "w", "x", 2), (2, "r", "x", 2), (2, "r", "x", 1)),
    ),
    "two writers, two orders": (
        set(),
        (
            (1, "w", "x", 1),
            (2, "w", "x", 2),
            (3, "r", "x", 1),
            (3, "r", "x", 2),
            (4, "r", "x", 2),
            (4, "r", "x", 1),
        ),
    ),
    "each read the other's future": (
        {"CyclicCO"},
        ((1, "r", "x", 2), (1, "w", "y", 1), (2, "r", "y", 1), (2, "w", "x", 2)),
    ),
    "one read the other's past": (
        set(),
        ((1, "r", "x", None), (1, "w", "y", 1), (2, "r", "y", 1), (2, "w", "x", 2)),
    ),
    "out of thin air": ({"ThinAirRead"}, ((1, "w", "x", 1), (2, "r", "x", 7))),
    "its own write is not seen": ({"WriteCOInitRead"}, ((1, "w", "x", 1), (1, "r", "x", None))),
}


@pytest.mark.parametrize(("expected", "steps"), CASES.values(), ids=CASES)
def test_each_pattern_is_named_and_its_neighbour_is_not(expected: set[str], steps: tuple[Step, ...]) -> None:
    assert names(*steps) == expected


def test_a_write_of_unknown_outcome_counts_where_it_is_read() -> None:
    steps: tuple[Step, ...] = ((1, "w", "x", 1), (2, "r", "x", 1), (2, "r", "x", None))
    assert names(*steps, info=(0,)) == {"WriteCOInitRead"}
    assert names(*steps[:1], (2, "r", "x", None), info=(0,)) == set()


def test_transactions_are_their_operations_in_order() -> None:
    ops = [
        Op(index=0, time=0, process=1, type="invoke", f="txn", value=[["w", "x", 1], ["w", "y", 2]]),
        Op(index=1, time=1, process=1, type="ok", f="txn", value=[["w", "x", 1], ["w", "y", 2]]),
        Op(index=2, time=2, process=2, type="invoke", f="txn", value=[["r", "y", None], ["r", "x", None]]),
        Op(index=3, time=3, process=2, type="ok", f="txn", value=[["r", "y", 2], ["r", "x", None]]),
    ]
    result = CausalChecker().check(History(ops), CheckContext())
    assert [anomaly.name for anomaly in result.anomalies] == ["WriteCOInitRead"]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "0 writes and 0 reads"),
        (((1, "w", "x", 1), (1, "r", "x", 1)), "one session only"),
        (((1, "w", "x", 1), (2, "w", "x", 1), (2, "r", "x", 1)), "written twice"),
    ],
)
def test_too_thin_to_tell(steps: tuple[Step, ...], reason: str) -> None:
    result = CausalChecker().check(history(*steps), CheckContext())
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason is not None
    assert reason in result.reason


@st.composite
def small(draw: st.DrawFn) -> list[Step]:
    count = draw(st.integers(1, 8))
    kinds = [
        (draw(st.integers(0, 2)), draw(st.booleans()), draw(st.sampled_from("xy"))) for _ in range(count)
    ]
    written = {key: [at for at, (_, w, k) in enumerate(kinds) if w and k == key] for key in "xy"}
    return [
        (process, "w", key, at)
        if writes
        else (process, "r", key, draw(st.sampled_from([None, *written[key]])))
        for at, (process, writes, key) in enumerate(kinds)
    ]


def naive(steps: list[Step]) -> set[str]:
    """Closure by squaring, then the patterns by their definition."""
    n = len(steps)
    source = {}
    before = [[False] * n for _ in range(n)]
    for b, (process, kind, key, value) in enumerate(steps):
        for a in range(b):
            before[a][b] = steps[a][0] == process
        if kind == "r" and value is not None:
            source[b] = next(a for a, s in enumerate(steps) if s[1] == "w" and s[2:] == (key, value))
    for b, a in source.items():
        before[a][b] = True
    for k in range(n):
        for a in range(n):
            for b in range(n):
                before[a][b] |= before[a][k] and before[k][b]
    if any(before[a][a] for a in range(n)):
        return {"CyclicCO"}
    found = set()
    for r, (_, kind, key, value) in enumerate(steps):
        if kind != "r":
            continue
        past = [w for w in range(n) if steps[w][1] == "w" and steps[w][2] == key and before[w][r]]
        if value is None and past:
            found.add("WriteCOInitRead")
        if value is not None and any(before[source[r]][w] for w in past):
            found.add("WriteCORead")
    return found


@given(small())
@settings(max_examples=2_000)
def test_it_agrees_with_the_definition(steps: list[Step]) -> None:
    found = names(*steps)
    expected = naive(steps)
    if "CyclicCO" in expected:
        assert "CyclicCO" in found
    else:
        assert found == expected
