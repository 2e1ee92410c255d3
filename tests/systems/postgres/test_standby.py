"""A primary and its standby, through the command line: what asynchronous replication loses and shows, and what
synchronous commits keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.plan import resolve
from harness.spec import Spec
from tests.systems.postgres.runs import found, run

STANDBY = ("--set", "standby=streaming")
WAITS = ("--set", "synchronous_standby_names=any")
SHOWN_AT_ONCE = (*WAITS, "--set", "synchronous_commit=remote_apply")
READS = (*STANDBY, "--set", "reads=standby", "--set", "isolation=repeatable-read")
PEERS = {"shape": "peers", "direction": "both", "how": "drop", "clients": False}
CLIENTS = {"shape": "clients", "direction": "both", "how": "drop", "clients": True}
FAILOVER = [
    {
        "at_ms": 2_000,
        "kind": "partition",
        "selector": "leader(postgres)",
        "duration_ms": 2_500,
        "params": PEERS,
    },
    {"at_ms": 3_200, "kind": "kill", "selector": "leader(postgres)", "duration_ms": 3_000},
    {"at_ms": 3_800, "kind": "promote", "selector": "followers(postgres)", "duration_ms": 2_000},
]
CUT_FROM_CLIENTS = [
    {
        "at_ms": 2_000,
        "kind": "partition",
        "selector": "leader(postgres)",
        "duration_ms": 2_000,
        "params": CLIENTS,
    }
]
CUT_FROM_STANDBY = [
    {
        "at_ms": 2_000,
        "kind": "partition",
        "selector": "leader(postgres)",
        "duration_ms": 2_000,
        "params": PEERS,
    }
]


def scheduled(folder: Path, faults: list[dict[str, Any]]) -> tuple[str, str]:
    path = folder / "faults.json"
    path.write_text(json.dumps({"version": 1, "faults": faults}))
    return "--schedule", str(path)


@pytest.mark.real
def test_a_failover_loses_what_the_standby_had_not_received(open_folder: Path) -> None:
    """The lists outlive the failover, so that the loss is seen."""
    words = ("--workload", "append", *STANDBY, *scheduled(open_folder, FAILOVER), "--time-limit", "9")
    code, output, results = run(open_folder, *words)
    assert code == 1, output
    assert "incompatible-order" in found(results)
    assert results["situations"]["failed-over"] == 1


@pytest.mark.real
def test_a_failover_loses_nothing_that_waited_for_the_standby(open_folder: Path) -> None:
    faults = scheduled(open_folder, FAILOVER)
    code, output, results = run(
        open_folder, "--workload", "append", *STANDBY, *WAITS, *faults, "--time-limit", "9"
    )
    assert code == 0, output
    assert found(results) == set()
    assert results["situations"]["failed-over"] == 1


@pytest.mark.real
def test_nobody_is_promoted_while_the_primary_lives(open_folder: Path) -> None:
    """Two primaries would both take writes."""
    faults = [{"at_ms": 1_000, "kind": "promote", "selector": "pg2", "duration_ms": 1_000}]
    words = ("--workload", "append", *STANDBY, *scheduled(open_folder, faults), "--time-limit", "4")
    _, output, results = run(open_folder, *words)
    assert found(results) == set(), output
    assert (results["faults"]["fired"], results["faults"]["bitten"]) == (1, 0)
    assert results["situations"]["failed-over"] == 0


@pytest.mark.real
@pytest.mark.parametrize("faults", [CUT_FROM_CLIENTS, CUT_FROM_STANDBY], ids=["clients", "standby"])
def test_a_partition_takes_nothing_from_serializability(
    open_folder: Path, faults: list[dict[str, Any]]
) -> None:
    words = ("--workload", "append", *STANDBY, *scheduled(open_folder, faults), "--time-limit", "8")
    code, output, results = run(open_folder, *words)
    assert code == 0, output
    assert found(results) == set()
    assert results["faults"]["bitten"] == 1


@pytest.mark.real
def test_what_a_standby_shows_is_old_and_no_more(open_folder: Path) -> None:
    code, output, results = run(
        open_folder, "--workload", "append", *READS, "--set", "recovery_min_apply_delay=200"
    )
    assert code == 0, output
    assert "G-single-realtime" in found(results)
    plain = {name for name in found(results) if not name.endswith(("-realtime", "-process"))}
    # Two servers may order independent commits differently (long fork); nothing worse, as G-single.
    assert plain <= {"G2-item", "G-nonadjacent", "long-fork"}


@pytest.mark.real
def test_a_standby_forgets_what_its_client_did(open_folder: Path) -> None:
    late = ("--set", "recovery_min_apply_delay=200")
    code, output, results = run(open_folder, "--workload", "causal", *READS, *late)
    assert code == 1, output
    assert found(results) <= {"WriteCORead", "WriteCOInitRead"}


@pytest.mark.real
def test_a_commit_that_waits_until_the_standby_shows_it_keeps_causes_before_effects(
    open_folder: Path,
) -> None:
    late = ("--set", "recovery_min_apply_delay=20")
    code, output, results = run(open_folder, "--workload", "causal", *READS, *SHOWN_AT_ONCE, *late)
    assert code == 0, output
    assert found(results) == set()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reads": "standby"}, "reads=standby: there is no standby; give --set standby=streaming"),
        ({"synchronous_standby_names": "any"}, "synchronous_standby_names=any: there is no standby"),
        ({"reads": "standby", "standby": "streaming"}, "PostgreSQL refuses SERIALIZABLE on a standby"),
        ({"synchronous_commit": "remote_apply"}, "no standby is synchronous"),
    ],
)
def test_what_contradicts_itself_is_told_before_the_run(settings: dict[str, str], told: str) -> None:
    asked = Spec(system="postgres", workload="append", nemesis="none", backend="local", settings=settings)
    with pytest.raises(UserError, match=told):
        resolve(asked)
