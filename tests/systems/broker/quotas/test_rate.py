"""Rates as Kafka measures them: the values are what `Rate` and `QuotaUtils` of Apache Kafka give for the same calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.broker.quotas.rate import Measured, Rate, throttle_s


def test_a_client_that_has_just_begun_is_measured_as_if_it_had_been_idle() -> None:
    rate = Rate(windows=11, window_s=1.0)
    rate.record(20_000, now=5.0)
    assert rate.measure(5.0) == Measured(2_000.0, 10.0)
    assert rate.measure(5.5) == Measured(20_000 / 10.5, 10.5)
    assert rate.measure(8.0) == Measured(2_000.0, 10.0)


def test_the_oldest_window_goes() -> None:
    rate = Rate(windows=3, window_s=1.0)
    for second in range(5):
        rate.record(100 * (second + 1), now=float(second))
    assert rate.measure(4.0) == Measured((300 + 400 + 500) / 2, 2.0)
    assert rate.measure(6.9) == pytest.approx((500 / 2.9, 2.9))
    assert rate.measure(7.0).rate == 0
    assert rate.idle(7.0)


def test_what_did_not_happen_is_taken_back() -> None:
    rate = Rate(windows=3, window_s=1.0)
    rate.record(700, now=0.0)
    rate.record(-700, now=0.0)
    assert rate.measure(0.0).rate == 0


def test_within_the_bound_nobody_waits() -> None:
    assert throttle_s(Measured(1_000.0, 10.0), 1_000.0) == 0
    assert throttle_s(Measured(1_500.0, 10.0), 1_000.0) == 5.0


@given(
    shares=st.lists(st.floats(0.01, 1), min_size=20, max_size=60),
    bound=st.integers(500, 5_000),
    windows=st.integers(2, 11),
)
def test_whoever_waits_as_told_keeps_to_the_bound(shares: list[float], bound: int, windows: int) -> None:
    """But for the burst that is free, and for the window that is forgotten at once when the next one begins."""
    rate, now, sent = Rate(windows, 1.0), 0.0, 0.0
    for share in shares:
        rate.record(share * bound, now)
        sent += share * bound
        now += throttle_s(rate.measure(now), bound)
        assert sent <= bound * (now * windows / (windows - 1) + windows)
