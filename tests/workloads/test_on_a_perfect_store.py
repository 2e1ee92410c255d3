"""The store's workloads against a store in memory: nothing to find where it is right, also where outcomes stay
open; and each mistake shows under its name."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from unittest import mock

import pytest
from memory_store import MemoryStore
from small_runner import SmallRunner

from harness import registry
from harness.checker import CheckContext
from harness.history import History
from harness.workload import Workload
from workloads.store_client import READS

RIGHT: dict[str, dict[str, Any]] = {
    "register": {},
    "session": {},
    "write-once": {},
    "counter": {},
    "set": {},
    "set-rmw": {},
    "kv-delete": {},
    "siblings": {},
    "cart": {},
    "row": {},
    "convergence": {},
}


def run(name: str, seed: int, *, errors: float = 0.0, mistake: str | None = None, **settings: Any) -> History:
    rng = random.Random(seed)
    workload: Workload = registry.load("workloads", name)
    runner = SmallRunner(workload, MemoryStore(rng, errors=errors, mistake=mistake), rng, **settings)
    with mock.patch("asyncio.sleep", runner.sleep):
        return asyncio.run(runner.run(800))


def judged(name: str, history: History) -> tuple[set[str], set[str]]:
    """(verdicts, anomalies) of the workload's checkers."""
    workload: Workload = registry.load("workloads", name)
    context = CheckContext(workload=name, config=dict(MemoryStore.config))
    results = [registry.load("checkers", checker).check(history, context) for checker in workload.checkers]
    return {r.reason or str(r.verdict) for r in results}, {a.name for r in results for a in r.anomalies}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_store_is_valid(name: str, seed: int) -> None:
    history = run(name, seed, **RIGHT[name])
    assert judged(name, history) == ({"valid"}, set())
    assert sum(o.outcome == "ok" for o in history.operations) > 500


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", RIGHT)
def test_open_outcomes_are_no_anomalies(name: str, seed: int) -> None:
    history = run(name, seed, errors=0.03, **RIGHT[name])
    assert judged(name, history)[1] == set()
    assert any(o.outcome == "info" for o in history.operations)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "mistake", "anomaly"),
    [
        ("register", "stale", "nonlinearizable"),
        ("register", "forget", "nonlinearizable"),
        ("session", "stale", "ryw-violation"),
        ("write-once", "forget", "lost-write"),
        ("counter", "forget", "counter-under"),
        ("counter", "double", "counter-over"),
        ("set", "forget", "lost-write"),
        ("kv-delete", "resurrect", "resurrected-delete"),
        ("cart", "resurrect", "resurrected-element"),
        ("siblings", "forget", "sibling-lost"),
        ("siblings", "hoard", "sibling-explosion"),
        ("row", "mix", "mixed-row"),
        ("convergence", "diverge", "divergence"),
    ],
)
def test_a_mistake_shows(name: str, mistake: str, anomaly: str, seed: int) -> None:
    assert anomaly in judged(name, run(name, seed, mistake=mistake))[1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "errors", "settings", "anomaly"),
    [
        ("set-rmw", 0.0, {"set__update": "blind"}, "lost-update"),
        ("counter", 0.0, {"counter__style": "rmw"}, "counter-under"),
        ("counter", 0.05, {"counter__retry": True}, "counter-over"),
    ],
)
def test_a_wrong_application_shows(
    name: str, errors: float, settings: dict[str, Any], anomaly: str, seed: int
) -> None:
    assert judged(name, run(name, seed, errors=errors, **settings))[1] == {anomaly}


@pytest.mark.parametrize("name", RIGHT)
def test_the_same_seed_gives_the_same_history(name: str) -> None:
    assert run(name, 7, errors=0.02).ops == run(name, 7, errors=0.02).ops


@pytest.mark.parametrize("name", ["register", "write-once", "counter", "set", "kv-delete", "siblings", "row"])
def test_every_key_is_read_back(name: str) -> None:
    history = run(name, 5)
    written = {o.invoke.key for o in history.operations if o.f in ("write", "add", "put")}
    back = [o for o in history.operations[-2 * len(written) :] if o.f in READS and o.outcome == "ok"]
    assert {o.invoke.key for o in back} >= written
