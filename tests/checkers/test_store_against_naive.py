"""Checkers of stores find exactly what the definitions find, on histories of stores that lie."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import naive_store as naive
import store_model as model
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import registry
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Op
from harness.results import Result

seeds = st.integers(0, 2**32)


def lying(rng: random.Random, history: History) -> History:
    """Some reads answer something that was read or written at some time."""
    answers = [op.value for op in history if op.f in ("read", "final-read") and op.type == "ok"]

    def edit(op: Op) -> Op:
        if op.f not in ("read", "final-read") or op.type != "ok" or rng.random() > 0.3:
            return op
        return msgspec.structs.replace(op, value=rng.choice(answers))

    return History(edit(op) for op in history)


def judged(name: str, history: History, **config: Any) -> Result:
    result: Result = registry.load("checkers", name).check(history, CheckContext(config=config))
    return result


def instances(result: Result, names: set[str]) -> list[tuple[str, dict[str, Any], str | None]]:
    return [
        (a.name, instance, a.where)
        for a in result.anomalies
        if a.name in names
        for instance in a.data["instances"]
    ]


@settings(max_examples=300, deadline=None)
@given(seeds, st.integers(5, 90))
def test_sessions(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    history = lying(rng, model.legal_history(rng, model.of_registers, "final-read", steps))
    reads = {o.completion.index: o.invoke.index for o in history.operations if o.completion is not None}
    found = {
        (name, reads[instance["ops"][-1]])
        for name, instance, _ in instances(
            judged("sessions", history), {"ryw-violation", "nonmonotonic-read", "writes-follow-reads"}
        )
    }
    assert found == naive.sessions(history)


@settings(max_examples=300, deadline=None)
@given(seeds, st.integers(5, 90), st.booleans())
def test_sets(seed: int, steps: int, full: bool) -> None:
    rng = random.Random(seed)
    history = lying(rng, model.legal_history(rng, model.of_removals, "final-read", steps))
    result = judged("set-full" if full else "set", history)
    found = {
        (name, (str(where).removeprefix("key "), instance["value"]))
        for name, instance, where in instances(result, {"lost-write", "stale-read"})
    }
    assert found == naive.sets(history, full)


@settings(max_examples=300, deadline=None)
@given(seeds, st.integers(5, 90), st.booleans())
def test_counters(seed: int, steps: int, strict: bool) -> None:
    rng = random.Random(seed)
    history = lying(rng, model.legal_history(rng, model.of_counters, "final-read", steps))
    result = judged("counter", history, **{"counter.linearizable": strict})
    found = {
        (name, instance["ops"][0])
        for name, instance, _ in instances(result, {"counter-under", "counter-over"})
    }
    assert found == naive.counters(history, strict)
