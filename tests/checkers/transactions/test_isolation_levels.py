"""At each isolation level nothing that the level forbids is ever reported, and all that it allows is found."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from multi_version_store import LEVELS, Store

from checkers.transactions import ElleChecker
from checkers.transactions.models import forbidden
from harness.checker import CheckContext
from harness.results import Result

HISTORIES = int(os.environ.get("CHAOS_STORE_HISTORIES", "300"))


def judged(seed: int, level: str, *, lists: bool) -> Result:
    rng = random.Random(f"{seed} {level} {lists}")
    store = Store(rng, level, lists=lists, crash=rng.choice([0.0, 0.05, 0.2]))
    history = store.run(rng.randint(10, 60), processes=rng.randint(2, 6), keys=rng.randint(1, 4))
    options = {"model": "list-append" if lists else "rw-register"}
    return ElleChecker().check(history, CheckContext(options=options))


@pytest.mark.parametrize("lists", [True, False], ids=["list-append", "rw-register"])
@pytest.mark.parametrize("level", LEVELS)
def test_nothing_forbidden_is_reported_and_all_that_is_allowed_is_found(level: str, lists: bool) -> None:
    found: Counter[str] = Counter()
    for seed in range(HISTORIES // (2 * len(LEVELS))):
        result = judged(seed, level, lists=lists)
        names = {anomaly.name for anomaly in result.anomalies}
        assert not names & forbidden(level), (seed, [a.summary for a in result.anomalies])
        found.update(names)
    print(level, lists, dict(found))
    assert set(found) >= EXPECTED[level, lists]
    if HISTORIES >= MANY and lists:
        assert set(found) >= ALLOWED[level]


MANY = 10_000
"""Histories in which lists show everything that a level allows and the store can do (registers show less). Its aborts undo before anybody else
writes, and commits take effect one after the other: no dirty-update, no G0, and G1c only where nothing is committed."""
_ANTI = {
    f"{name}{order}"
    for name in ("G2-item", "G-single", "G-nonadjacent")
    for order in ("", "-process", "-realtime")
}
_SKEWED = {"internal", "lost-update", "fractured-read", "long-fork"}
_LATE = {
    f"{name}-{order}"
    for name in ("G-single", "G-nonadjacent", "G2-item")
    for order in ("process", "realtime")
}
ALLOWED = {
    "read-uncommitted": {*_ANTI, *_SKEWED, "G1a", "G1b", "G1c", "G1c-process", "G1c-realtime"},
    "read-committed": {*_ANTI, *_SKEWED},
    "snapshot-isolation": {*_LATE, "G2-item"},
    "strong-snapshot-isolation": {"G2-item", "G2-item-process", "G2-item-realtime"},
    "serializable": _LATE,
    "strict-serializable": set[str](),
}


EXPECTED = {
    ("read-uncommitted", True): {"G1a", "G1b", "G1c", "G-single", "G2-item"},
    ("read-committed", True): {"lost-update", "G-single", "G2-item", "internal", "fractured-read"},
    ("snapshot-isolation", True): {"G2-item", "G-single-realtime"},
    ("strong-snapshot-isolation", True): {"G2-item"},
    ("serializable", True): {"G-single-realtime"},
    ("strict-serializable", True): set(),
    ("read-uncommitted", False): {"G1a", "G1b", "G1c"},
    ("read-committed", False): {"lost-update", "G-single", "internal"},
    ("snapshot-isolation", False): {"G2-item"},
    ("strong-snapshot-isolation", False): {"G2-item"},
    ("serializable", False): {"G-single-realtime"},
    ("strict-serializable", False): set(),
}
