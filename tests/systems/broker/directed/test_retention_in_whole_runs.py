"""Retention under faults, through the command line: what it removes is not called lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.systems.broker.directed.test_named_in_whole_runs import CHAOS

SMALL = ("--set", "log.segment.bytes=1024", "--set", "log.retention.check.interval.ms=200")


@pytest.mark.parametrize(
    ("nemesis", "limit"),
    [("partition+kill", "log.retention.ms=4000"), ("power", "log.retention.bytes=2048")],
)
def test_what_retention_removes_is_not_lost(nemesis: str, limit: str, tmp_path: Path) -> None:
    words = ["test", "--workload", "produce", "--nemesis", nemesis, "--seed", "1", "--time-limit", "20"]
    words += [*SMALL, "--set", limit, "--out", str(tmp_path), "--json"]
    pinned = {**os.environ, "PYTHONHASHSEED": "0"}
    run = subprocess.run([*CHAOS, *words], env=pinned, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (result,) = json.loads(run.stdout)["runs"]
    assert result["situations"]["segment-deleted"]
    assert result["situations"]["log-start-advanced"]
