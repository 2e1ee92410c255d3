"""Directed schedules of the quorum store (S12, S14, S15) as plain schedules, and their safe twins."""

from __future__ import annotations

from typing import Any

import pytest

from harness.execute import execute
from harness.judge import RunResult
from harness.results import Verdict
from harness.schedule import Fault, Schedule
from harness.spec import Spec

S12 = Schedule(
    (
        Fault(
            at_ms=3_000,
            kind="slow",
            selector="all",
            duration_ms=12_000,
            params={"kinds": ["store"], "latency_ms": 1, "jitter_ms": 500, "to": "replicas"},
        ),
    )
)
"""Writes reach one replica now and the others late; reads are not delayed."""
S14 = Schedule(
    (
        Fault(
            at_ms=3_000,
            kind="clock",
            selector="n1",
            duration_ms=10_000,
            params={"mode": "jump", "offset_ms": 10_000},
        ),
    )
)
"""One coordinator's clock is ahead: what it writes outlives what others write later."""
S15 = Schedule(
    tuple(
        Fault(at_ms=at_ms, kind="kill", selector="one-of(replicas)", duration_ms=3_500)
        for at_ms in range(3_000, 20_000, 5_000)
    )
)
"""A replica is away for longer than tombstones are kept."""

SHORT_GRACE = {"gc.grace.ms": 1_000, "tombstone.gc": "time"}
SAFE_GRACE = {"gc.grace.ms": 1_000, "tombstone.gc": "repair"}


def run(schedule: Schedule, workload: str, *, profile: str = "", **settings: Any) -> RunResult:
    spec = Spec(
        system="quorum",
        nodes=5,
        workload=workload,
        profile=profile,
        schedule=schedule,
        time_limit_ms=25_000 if workload == "kv-delete" else 20_000,
        settings=settings,
    )
    return execute(spec, root=None).result


@pytest.mark.parametrize(
    ("schedule", "workload", "asked", "anomaly"),
    [
        (S12, "register", {"profile": "quorum"}, "nonlinearizable"),
        (S14, "register", {"profile": "quorum-repair"}, "nonlinearizable"),
        (S15, "kv-delete", SHORT_GRACE, "resurrected-delete"),
    ],
    ids=["S12", "S14", "S15"],
)
def test_a_directed_schedule_shows_its_anomaly(
    schedule: Schedule, workload: str, asked: dict[str, Any], anomaly: str
) -> None:
    result = run(schedule, workload, **asked)
    assert result.verdict is Verdict.INVALID, result.reason
    assert anomaly in {a.name for a in result.anomalies}


@pytest.mark.parametrize(
    ("schedule", "workload", "asked"),
    [
        (S12, "register", {"profile": "abd"}),
        (S14, "register", {"profile": "abd"}),
        (S15, "kv-delete", SAFE_GRACE),
    ],
    ids=["S12", "S14", "S15"],
)
def test_its_safe_twin_is_silent(schedule: Schedule, workload: str, asked: dict[str, Any]) -> None:
    result = run(schedule, workload, **asked)
    assert result.verdict is Verdict.VALID, result.reason or [a.summary for a in result.anomalies]
    assert result.faults["bitten"] == len(schedule.faults)
