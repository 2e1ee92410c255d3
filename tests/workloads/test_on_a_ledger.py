"""The workloads of transactions in whole simulated runs on a store of known isolation: what its level forbids is never
reported, what it allows is found, and every workload shows what it is there for."""

from __future__ import annotations

import pytest

from checkers.transactions.models import forbidden
from harness.execute import carry_out
from harness.judge import RunResult
from harness.plan import resolve
from harness.results import Verdict
from harness.spec import Spec

FORBIDDEN = {
    "read-uncommitted": frozenset({"G0"}),
    "read-committed": forbidden("read-committed"),
    "repeatable-read": forbidden("strong-snapshot-isolation"),
    "serializable": forbidden("strict-serializable"),
}
"""Its snapshots are never old, so that real time is kept."""
pytestmark = pytest.mark.usefixtures("toy")
WORKLOADS = ("append", "wr", "write-skew", "long-fork", "txn-lost-update", "bank", "causal")


def judged(workload: str, level: str, *, seed: int = 0, nemesis: str = "none") -> RunResult:
    spec = Spec(
        system="toy-ledger",
        workload=workload,
        nemesis=nemesis,
        time_limit_ms=5_000,
        seed=seed,
        settings={"isolation": level},
    )
    return carry_out(resolve(spec), asked=spec, root=None).result


def names(result: RunResult) -> set[str]:
    return {anomaly.name for each in result.results for anomaly in each.anomalies}


@pytest.mark.parametrize("level", ["read-committed", "repeatable-read", "serializable"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_a_level_forbids_is_not_reported(workload: str, level: str) -> None:
    for seed, nemesis in ((1, "none"), (2, "kill")):
        result = judged(workload, level, seed=seed, nemesis=nemesis)
        assert not names(result) & FORBIDDEN[level], (nemesis, names(result))
        assert result.verdict is not Verdict.INVALID or (workload, level) == ("causal", "read-committed")
        if level == "serializable":
            assert names(result) == set()


@pytest.mark.parametrize(
    ("workload", "level", "shown"),
    [
        ("append", "read-uncommitted", {"G1a", "G1b"}),
        ("wr", "read-uncommitted", {"G1a", "G1b"}),
        ("append", "read-committed", {"lost-update", "G-single", "G2-item"}),
        ("wr", "read-committed", {"lost-update"}),
        ("txn-lost-update", "read-committed", {"lost-update"}),
        ("bank", "read-committed", {"wrong-total"}),
        ("append", "repeatable-read", {"G2-item"}),
        ("write-skew", "repeatable-read", {"G2-item"}),
    ],
)
def test_what_a_level_allows_is_found(workload: str, level: str, shown: set[str]) -> None:
    found = {name for seed in (1, 2, 3) for name in names(judged(workload, level, seed=seed))}
    assert found >= shown
