"""The two commands of the README's first screen: the bundled broker, a partition, a verdict, a report."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from harness.cli.group import chaos


def test_the_main_job_ends_with_a_verdict_a_history_and_a_report(tmp_path: Path) -> None:
    words = [
        "test",
        "--nemesis",
        "partition",
        "--workload",
        "eos",
        "--time-limit",
        "20",
        "--out",
        str(tmp_path),
    ]
    run = CliRunner().invoke(chaos, words)
    assert run.exit_code == 0, run.output
    folder = tmp_path / "latest"
    assert "report.html" in run.stdout
    assert (folder / "report.html").stat().st_size > 10_000
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == "valid"
    assert result["faults"]["overlapping"] >= 1
    assert result["promise"]
    judged = CliRunner().invoke(chaos, ["check", str(folder), "--json"])
    assert judged.exit_code == 0
    assert json.loads(judged.stdout)["runs"][0]["ops"] == result["ops"]


def test_acks_1_loses_what_a_deposed_leader_acknowledged(tmp_path: Path) -> None:
    """S1: cut off from its peers but not from its clients, it goes on acknowledging what nobody will fetch."""
    cut = {
        "at_ms": 6_000,
        "kind": "partition",
        "selector": "leader(orders/0)",
        "duration_ms": 7_000,
        "params": {"shape": "isolate"},
    }
    schedule = tmp_path / "schedule.json"
    schedule.write_text(json.dumps({"faults": [cut]}))
    words = ["test", "--workload", "produce", "--schedule", str(schedule), "--time-limit", "20", "--json"]
    words += ["--out", str(tmp_path / "runs")]
    unsafe = CliRunner().invoke(chaos, [*words, "--set", "acks=1"])
    assert unsafe.exit_code == 1, unsafe.output
    assert "lost-write" in [a["name"] for a in json.loads(unsafe.stdout)["runs"][0]["anomalies"]]
    safe = CliRunner().invoke(chaos, words)
    assert safe.exit_code == 0, safe.output
