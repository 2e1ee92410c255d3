"""Histories of a correct system are never called invalid, and when they are rich enough they are valid."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_model import eos_history, produce_history

from checkers.exactly_once import ExactlyOnceChecker
from checkers.log import LogChecker
from harness.checker import CheckContext
from harness.results import Verdict


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(5, 120))
def test_log_checker_is_silent_on_produce(rng: random.Random, steps: int) -> None:
    result = LogChecker().check(produce_history(rng, steps), CheckContext())
    assert result.verdict is not Verdict.INVALID, [a.summary for a in result.anomalies]
    assert not result.anomalies


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(5, 150))
def test_both_checkers_are_silent_on_eos(rng: random.Random, steps: int) -> None:
    history = eos_history(rng, steps)
    for checker in (LogChecker(), ExactlyOnceChecker()):
        result = checker.check(history, CheckContext())
        assert result.verdict is not Verdict.INVALID, [a.summary for a in result.anomalies]
        assert not result.anomalies


@pytest.mark.parametrize("seed", range(40))
def test_long_runs_are_valid(seed: int) -> None:
    rng = random.Random(seed)
    assert LogChecker().check(produce_history(rng, 1_500), CheckContext()).verdict is Verdict.VALID
    history = eos_history(rng, 1_500)
    for checker in (LogChecker(), ExactlyOnceChecker()):
        result = checker.check(history, CheckContext())
        assert result.verdict is Verdict.VALID, (result.reason, [a.summary for a in result.anomalies])
