"""The workloads against a perfect log: rich histories, and nothing to find; with errors that leave the outcome
open, still nothing; and each way to write the application wrong shows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any
from unittest import mock

import pytest
from memory_log import MemoryLog
from small_runner import SmallRunner

from harness import registry
from harness.checker import CheckContext
from harness.history import History
from harness.workload import Workload


def run(
    name: str,
    seed: int,
    *,
    errors: float = 0.0,
    isolation: str = "read_committed",
    operations: int = 1_200,
    **settings: Any,
) -> History:
    rng = random.Random(seed)
    workload: Workload = registry.load("workloads", name)
    runner = SmallRunner(workload, MemoryLog(rng, errors=errors, isolation=isolation), rng, **settings)
    with mock.patch("asyncio.sleep", runner.sleep):
        return asyncio.run(runner.run(operations))


def judged(name: str, history: History, **config: Any) -> tuple[set[str], set[str]]:
    """(verdicts, anomalies) of the workload's checkers."""
    workload: Workload = registry.load("workloads", name)
    config = {s.name: s.default for s in workload.settings} | config
    results = [
        registry.load("checkers", checker).check(history, CheckContext(workload=name, config=config))
        for checker in workload.checkers
    ]
    return {r.reason or str(r.verdict) for r in results}, {a.name for r in results for a in r.anomalies}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["produce", "eos"])
def test_a_perfect_log_is_valid(name: str, seed: int) -> None:
    history = run(name, seed)
    assert judged(name, history) == ({"valid"}, set())
    outcomes = Counter((o.f, o.outcome) for o in history.operations)
    assert outcomes["send", "ok"] > 300
    assert outcomes["poll", "ok"] > 100
    if name == "eos":
        assert outcomes["transfer", "ok"] > 100
        assert outcomes["transfer", "fail"] > 5
        assert outcomes["transfer", "info"] > 2
        assert outcomes["committed", "ok"] >= 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["produce", "eos"])
@pytest.mark.parametrize("errors", [0.01, 0.05])
def test_open_outcomes_are_no_anomalies(name: str, errors: float, seed: int) -> None:
    history = run(name, seed, errors=errors)
    assert judged(name, history)[1] == set()
    assert any(o.outcome == "info" for o in history.operations)


@pytest.mark.parametrize("seed", range(3))
def test_groups_of_sends(seed: int) -> None:
    history = run("produce", seed, errors=0.01, produce__batch__records=3)
    assert judged("produce", history)[1] == set()
    assert any(isinstance(o.value, list) and o.outcome == "ok" for o in history.operations if o.f == "send")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"eos__rewind": False, "eos__abort__probability": 0.2}, {"eos-loss"}),
        ({"eos__offsets": "separate", "eos__crash__probability": 0.2}, {"eos-duplicate"}),
        ({"eos__transactional__id": "instance", "eos__stall__probability": 0.2}, {"eos-duplicate"}),
    ],
)
def test_a_wrong_application_shows(settings: dict[str, Any], expected: set[str], seed: int) -> None:
    history = run("eos", seed, **settings)
    config = {"eos.offsets": settings.get("eos__offsets", "transaction")}
    assert judged("eos", history, **config)[1] >= expected


@pytest.mark.parametrize("seed", range(3))
def test_read_uncommitted_shows(seed: int) -> None:
    assert judged("eos", run("eos", seed, isolation="read_uncommitted"))[1] >= {"aborted-read"}


def test_a_zombie_is_fenced() -> None:
    """A stalled pipeline wakes after somebody took over, and is refused."""
    history = run("eos", 1, eos__stall__probability=0.2)
    stalled = [o for o in history.operations if o.f == "transfer" and o.invoke.extra["plan"] == "stall"]
    assert any(o.outcome == "info" and "Fenced" in o.completion.error for o in stalled if o.completion)


def test_the_same_seed_gives_the_same_history() -> None:
    assert run("eos", 7, errors=0.02).ops == run("eos", 7, errors=0.02).ops


OTHERS = (
    "txn",
    "queue",
    "keyed-order",
    "compacted-kv",
    "offsets",
    "sink",
    "fanout",
    "slow-consumer",
    "hot-key",
)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OTHERS)
def test_the_others_on_a_perfect_log(name: str, seed: int) -> None:
    history = run(name, seed)
    assert judged(name, history) == ({"valid"}, set())
    assert sum(o.outcome == "ok" for o in history.operations) > 300


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("errors", [0.01, 0.05])
def test_open_outcomes_of_the_others_are_no_anomalies(name: str, errors: float, seed: int) -> None:
    history = run(name, seed, errors=errors)
    assert judged(name, history)[1] == set()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("sink", {"sink__mode": "insert", "sink__crash__probability": 0.2}, "consume-duplicate"),
        ("keyed-order", {"keyed-order__partitioner": "mixed"}, "key-order-violation"),
        ("keyed-order", {"keyed-order__partitioner": "round-robin"}, "key-order-violation"),
        ("hot-key", {"hot-key__strategy": "salted"}, "counter-under"),
        ("txn", {"isolation": "read_uncommitted"}, "aborted-read"),
        ("txn", {"isolation": "read_uncommitted"}, "precommitted-read"),
        ("compacted-kv", {"isolation": "read_uncommitted"}, "aborted-read"),
    ],
)
def test_what_is_unsafe_shows(name: str, settings: dict[str, Any], expected: str, seed: int) -> None:
    assert expected in judged(name, run(name, seed, **settings))[1]


@pytest.mark.parametrize("name", ["sink", "keyed-order", "hot-key"])
def test_what_looks_alike_is_safe(name: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "sink": {"sink__mode": "upsert", "sink__crash__probability": 0.2},
        "keyed-order": {"keyed-order__partitioner": "custom"},
        "hot-key": {"hot-key__strategy": "plain"},
    }
    assert judged(name, run(name, 5, **settings[name])) == ({"valid"}, set())


def test_values_are_unique_and_transactions_too() -> None:
    history = run("eos", 3, errors=0.02)
    sent = [o.invoke.value for o in history.operations if o.f == "send"]
    transactions = [o.invoke.extra["txn"] for o in history.operations if o.f == "transfer"]
    assert len(set(sent)) == len(sent)
    assert len(set(transactions)) == len(transactions)
