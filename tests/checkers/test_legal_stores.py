"""No false alarm: a store that keeps its promises is never accused, whatever its clients do and wherever they lose
sight of an operation."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import store_model as model

from harness import registry
from harness.checker import CheckContext, Checker
from harness.results import Verdict

STRICT = {"set.linearizable": True, "counter.linearizable": True, "siblings.quorum": True}
CASES: list[tuple[str, Callable[..., model.Asked], str | None]] = [
    ("set", model.of_sets, "final-read"),
    ("set", model.of_removals, "final-read"),
    ("set-full", model.of_sets, "final-read"),
    ("lost-update", model.of_removals, "final-read"),
    ("deletes", model.of_removals, "final-read"),
    ("deletes", model.of_deletes, "final-read"),
    ("counter", model.of_counters, "final-read"),
    ("total-queue", model.of_queues, "drain"),
    ("sessions", model.of_registers, "final-read"),
    ("linearizable", model.of_registers, "read"),
    ("rows", model.of_rows, "final-read"),
    ("siblings", model.of_carts, "final-get"),
    ("unique-ids", model.of_ids, None),
    ("lock", model.of_locks, None),
]


@pytest.mark.parametrize("config", [{}, STRICT], ids=["as-is", "strict"])
@pytest.mark.parametrize(("name", "choose", "final"), CASES, ids=[f"{c[0]}-{c[1].__name__}" for c in CASES])
def test_a_store_that_keeps_its_promises(
    name: str, choose: Callable[..., model.Asked], final: str | None, config: dict[str, Any]
) -> None:
    checker: Checker = registry.load("checkers", name)
    verdicts: list[Verdict] = []
    for seed in range(60):
        history = model.legal_history(random.Random(seed), choose, final, 20 + 4 * seed)
        result = checker.check(history, CheckContext(config=config))
        assert result.verdict is not Verdict.INVALID, (seed, [a.summary for a in result.anomalies])
        verdicts.append(result.verdict)
    assert verdicts.count(Verdict.VALID) > 20 or name == "total-queue", verdicts
