"""Measures on a history short enough to reckon by hand (milliseconds)."""

from __future__ import annotations

from typing import Any

from checkers.availability import AvailabilityChecker
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Op, OpType
from harness.results import Verdict


def history(*events: tuple[int, Any, OpType, str]) -> History:
    return History(
        Op(index=i, time=ms * 1_000_000, process=process, type=type, f=f, value={"fault": 0})
        for i, (ms, process, type, f) in enumerate(events)
    )


RUN = history(
    (0, 0, "invoke", "send"),
    (10, 0, "ok", "send"),
    (20, 0, "invoke", "send"),
    (30, "nemesis", "invoke", "kill"),
    (30, "nemesis", "ok", "kill"),
    (520, 0, "info", "send"),
    (530, 1, "invoke", "send"),
    (600, "nemesis", "invoke", "restart"),
    (610, "nemesis", "ok", "restart"),
    (620, 1, "ok", "send"),
    (700, 1, "invoke", "send"),
    (730, 1, "ok", "send"),
)


def measures(f: str = "send", run: History = RUN) -> dict[str, Any]:
    result = AvailabilityChecker().check(run, CheckContext())
    assert result.verdict is Verdict.VALID
    answer: dict[str, Any] = result.measures[f]
    return answer


def test_longest_time_without_a_success() -> None:
    assert measures()["longest_without_ok_ms"] == 610


def test_recovery_counts_operations_that_were_tried_after_the_last_heal() -> None:
    assert measures()["recovery_ms"] == 120


def test_counts_and_latencies() -> None:
    assert {k: measures()[k] for k in ("ok", "fail", "info")} == {"ok": 3, "fail": 0, "info": 1}
    assert measures()["latency_ms"] == {"p50": 30, "p95": 90, "p99": 90, "max": 90}
    assert measures()["ok_per_second"] == round(3 / 0.73, 2)


def test_nothing_succeeded() -> None:
    run = history((0, 0, "invoke", "send"), (800, 0, "info", "send"), (900, 1, "invoke", "send"))
    found = measures(run=run)
    assert found["longest_without_ok_ms"] == 900
    assert found["latency_ms"]["p50"] is None
    assert found["recovery_ms"] is None


def test_an_empty_history() -> None:
    assert AvailabilityChecker().check(History([]), CheckContext()).measures == {}
