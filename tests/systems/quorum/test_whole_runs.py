"""Whole runs of the store in simulation: every workload is silent on the right store, and mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest

from harness.execute import execute
from harness.judge import RunResult
from harness.results import Verdict
from harness.spec import Spec


def run(workload: str, nemesis: str = "none", *, seed: int = 0, seconds: int = 15, **more: Any) -> RunResult:
    settings = more.pop("settings", {})
    spec = Spec(
        system="quorum",
        nodes=5,
        workload=workload,
        nemesis=nemesis,
        time_limit_ms=seconds * 1000,
        seed=seed,
        settings=settings,
        **more,
    )
    return execute(spec, root=None).result


@pytest.mark.parametrize(
    "workload",
    ["register", "session", "write-once", "counter", "set", "kv-delete", "row", "siblings", "convergence"],
)
def test_the_right_store_is_silent_under_partitions_and_kills(workload: str) -> None:
    result = run(workload, "partition+kill", seconds=20)
    assert result.verdict is Verdict.VALID, result.reason or [a.summary for a in result.anomalies]
    assert result.situations["peer-down"]


def test_no_power_loss_takes_what_was_acknowledged() -> None:
    result = run("write-once", "power-all", seconds=20)
    assert result.verdict is Verdict.VALID, result.reason or [a.summary for a in result.anomalies]


@pytest.mark.parametrize(
    ("workload", "nemesis"),
    [
        ("register", "partition+kill"),
        ("set-rmw", "partition+clock"),
        ("write-once", "power-all"),
        ("register", "wipe"),
    ],
)
def test_consensus_is_silent_and_compares(workload: str, nemesis: str) -> None:
    result = run(workload, nemesis, profile="raft", seconds=20)
    assert result.verdict is Verdict.VALID, result.reason or [a.summary for a in result.anomalies]


def test_a_voter_that_lost_its_disk_is_another_voter() -> None:
    assert run("register", "wipe", profile="raft", seconds=20).situations["voters-changed"]


@pytest.mark.parametrize("workload", ["register", "write-once", "siblings"])
def test_nodes_come_and_go_under_load(workload: str) -> None:
    result = run(workload, "partition+kill+membership", settings={"spares": 2}, seconds=20)
    assert result.verdict is Verdict.VALID, result.reason or [a.summary for a in result.anomalies]
    changed = [result.situations[f"ring-{how}"] for how in ("joined", "left", "replaced")]
    assert sum(changed)
    assert result.situations["ranges-fetched"]


WRONG = [
    ("set-rmw", "none", {}, (), "lost-update"),
    ("counter", "none", {"counter.style": "rmw"}, (), "counter-under"),
    ("row", "none", {"lww.tie": "value", "lww.resolution.ms": 5}, (), "mixed-row"),
    ("register", "clock", {"conflict": "lww"}, (), "nonlinearizable"),
    ("register", "none", {}, ("abd-write-skips-query",), "nonlinearizable"),
    ("siblings", "none", {}, ("sibling-explosion",), "sibling-explosion"),
    ("siblings", "none", {}, ("put-without-context-overwrites",), "sibling-lost"),
    ("counter", "none", {}, ("pn-actor-shared",), "counter-under"),
    ("register", "none", {"conflict": "raft"}, ("cas-checked-at-proposal",), "nonlinearizable"),
    ("set-rmw", "none", {"conflict": "raft"}, ("cas-checked-at-proposal",), "lost-update"),
    ("set-rmw", "none", {"conflict": "raft", "set.update": "blind"}, (), "lost-update"),
]


@pytest.mark.parametrize(
    ("workload", "nemesis", "settings", "bugs", "anomaly"), WRONG, ids=[f"{w[0]}: {w[4]}" for w in WRONG]
)
def test_a_mistake_is_named(
    workload: str, nemesis: str, settings: dict[str, Any], bugs: tuple[str, ...], anomaly: str
) -> None:
    result = run(workload, nemesis, settings=settings, bugs=bugs)
    assert anomaly in {found.name for found in result.anomalies}


def test_hints_repairs_and_trees_do_their_part() -> None:
    reached: dict[str, int] = {}
    for seed in range(2):
        result = run("kv-delete", "partition+kill", seed=seed, settings={"conflict": "lww"})
        for name, count in result.situations.items():
            reached[name] = reached.get(name, 0) + count
    for name in ("peer-down", "hint-stored", "hint-replayed", "read-repair", "merkle-repair"):
        assert reached[name], name


def test_tombstones_go_once_everybody_has_them() -> None:
    settings = {"gc.grace.ms": 1000, "max.hint.window.ms": 2000}
    result = run("kv-delete", "kill", settings=settings, seconds=25)
    assert result.situations["tombstone-purged"]
    assert result.verdict is Verdict.VALID, result.reason or [a.summary for a in result.anomalies]
