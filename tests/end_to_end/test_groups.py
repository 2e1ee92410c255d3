"""Consumer groups from the command line: members come and go, coordinators die, and nothing is lost; what a policy loses
is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from harness.cli.group import chaos


def run(out: Path, *words: str) -> tuple[int, dict[str, Any], Path]:
    """Exit code, the run's result, and its folder."""
    done = CliRunner().invoke(chaos, ["test", "--out", str(out), *words])
    assert done.exit_code in (0, 1), done.output
    folder = out / "latest"
    return done.exit_code, json.loads((folder / "result.json").read_text()), folder


def measures(result: dict[str, Any]) -> dict[str, Any]:
    [group] = [r for r in result["results"] if r["checker"] == "group"]
    found: dict[str, Any] = group["measures"]
    return found


def test_a_group_whose_brokers_die_processes_everything(tmp_path: Path) -> None:
    code, result, folder = run(
        tmp_path, "--workload", "group", "--nemesis", "kill", "--time-limit", "12", "--seed", "1"
    )
    assert code == 0, result
    assert result["situations"]["group-rebalance"] >= 1
    assert measures(result)["processed"] > 100
    assert "without_an_owner" in measures(result)
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_storm_of_rebalances_loses_nothing_and_comes_to_rest(tmp_path: Path) -> None:
    code, result, _ = run(
        tmp_path,
        "--workload",
        "rebalance-storm",
        "--time-limit",
        "10",
        "--set",
        "partition.assignment.strategy=cooperative-sticky",
    )
    assert code == 0, result
    assert result["situations"]["group-rebalance"] >= 5


def test_at_least_once_is_not_enough_where_nothing_may_be_repeated(tmp_path: Path) -> None:
    words = ["--workload", "group", "--time-limit", "10", "--set", "group.crash.probability=0.1"]
    code, result, folder = run(tmp_path, *words, "--set", "group.once=true")
    assert code == 1
    assert [a["name"] for r in result["results"] for a in r["anomalies"] if not a["allowed"]] == [
        "consume-duplicate"
    ] * sum(len(r["anomalies"]) for r in result["results"])
    assert "without an owner" in (folder / "report.html").read_text()
