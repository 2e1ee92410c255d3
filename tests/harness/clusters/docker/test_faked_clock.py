"""The clock of a program that we did not write, in a container: libfaketime is in its image, and the program follows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.history import read_history

pytestmark = pytest.mark.real

AHEAD_MS = 3_600_000


def test_the_clock_of_a_foreign_program_jumps_and_is_set_right(tmp_path: Path, engine: Any) -> None:
    schedule = tmp_path / "schedule.json"
    jump = {
        "at_ms": 500,
        "kind": "clock",
        "selector": "all",
        "duration_ms": 1_500,
        "params": {"mode": "jump", "offset_ms": AHEAD_MS},
    }
    schedule.write_text(json.dumps({"version": 1, "faults": [jump]}))
    done = subprocess.run(
        [
            *(
                str(Path(sys.executable).parent / "chaos"),
                "test",
                "--system",
                "postgres",
                "--workload",
                "append",
            ),
            *("--on", "docker", "--set", "faketime=true", "--schedule", str(schedule)),
            *("--time-limit", "3", "--out", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    faults = read_history(tmp_path / "latest" / "history.jsonl").faults
    jumped, healed = (op.value for op in faults if op.type == "ok")
    assert jumped["verified"] is True
    assert "+3600." in jumped["detail"] or "+3599." in jumped["detail"]
    assert healed["verified"] is True
