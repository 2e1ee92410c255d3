"""Every schedule of the store's catalogue in whole runs: named with the mistake, silent without."""

from __future__ import annotations

import pytest

from harness.catalogue import Entry, directed
from harness.execute import execute
from harness.results import Verdict
from systems.quorum.catalogue import CATALOGUE

SEEDS = 3
CASES = [
    pytest.param(
        entry, id=entry.name, marks=pytest.mark.long if entry.priority == 1 else pytest.mark.campaign
    )
    for entry in CATALOGUE
    if entry.directed is not None
]


@pytest.mark.parametrize("entry", CASES)
def test_the_mistake_is_named_and_its_absence_is_silent(entry: Entry) -> None:
    """What is under way when the schedule strikes differs from seed to seed: a few are tried."""
    for seed in range(SEEDS):
        wrong, right = (directed(entry, "quorum", seed, wrong=flag) for flag in (True, False))
        assert wrong is not None
        assert right is not None
        twin = execute(right, root=None).result
        assert twin.verdict is Verdict.VALID, twin.reason or [a.summary for a in twin.anomalies]
        if {a.name for a in execute(wrong, root=None).result.anomalies} & set(entry.expect):
            return
    raise AssertionError(f"{entry.name} was not named {entry.expect} in {SEEDS} seeds")
