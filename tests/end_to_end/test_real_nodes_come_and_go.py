"""A store of real processes: nodes join, leave, are replaced and lose their disks, and nothing is lost, unless by a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.catalogue import directed
from harness.history import read_history
from harness.schedule import Fault, Schedule
from harness.spec import Spec
from systems.quorum.catalogue import CATALOGUE

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

CHAOS = (sys.executable, "-c", "from harness.cli import main; main()")
COMINGS_AND_GOINGS = Schedule(
    (
        Fault(at_ms=2_000, kind="join", selector="n6"),
        Fault(at_ms=5_000, kind="replace", selector="n2", params={"by": "n7"}),
        Fault(at_ms=8_000, kind="leave", selector="n1"),
        Fault(at_ms=11_000, kind="join", selector="n1"),
        Fault(at_ms=14_000, kind="wipe", selector="n3", duration_ms=500),
    )
)


def run(folder: Path, spec: Spec) -> tuple[int, dict[str, Any], Path]:
    """Exit code, the run as `--json` tells it, and where it is kept."""
    schedule = folder / "schedule.json"
    schedule.write_bytes(msgspec.json.encode(spec.schedule))
    words = ["test", "--on", "local", "--system", "quorum", "--workload", spec.workload, "--json"]
    words += ["--schedule", str(schedule), "--nodes", str(spec.nodes), "--rate", str(spec.rate)]
    words += ["--time-limit", str(spec.time_limit_ms / 1000), "--out", str(folder / "runs")]
    for key, value in spec.settings.items():
        words += ["--set", f"{key}={value}"]
    for bug in spec.bugs:
        words += ["--bug", bug]
    told = subprocess.run([*CHAOS, *words], capture_output=True, text=True, check=False)
    assert told.stdout, told.stderr
    [line] = json.loads(told.stdout)["runs"]
    return told.returncode, line, Path(line["dir"])


def left_running(folder: Path) -> list[str]:
    return [
        place.parent.name
        for place in Path("/proc").glob("[0-9]*/cmdline")
        if str(folder).encode() in _read(place)
    ]


def _read(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("workload", ["write-once", "register"])
def test_nothing_is_lost_when_real_nodes_come_and_go(tmp_path: Path, workload: str) -> None:
    spec = Spec(
        system="quorum",
        workload=workload,
        schedule=COMINGS_AND_GOINGS,
        settings={"spares": 2},
        nodes=5,
        rate=30.0,
        time_limit_ms=20_000,
    )
    code, line, folder = run(tmp_path, spec)
    assert code == 0, line
    done = [op for op in read_history(folder / "history.jsonl").ops if op.is_fault and op.type == "ok"]
    changes = {op.f: op.value for op in done if op.f in ("join", "replace", "leave", "wipe")}
    assert list(changes) == ["join", "replace", "leave", "wipe"]
    assert all(value["verified"] is True for value in changes.values())
    for how in ("joined", "replaced", "left", "rebuilt"):
        assert line["situations"][f"ring-{how}"], how
    assert not left_running(tmp_path)


def test_a_mistake_of_the_ring_loses_writes_of_real_nodes(tmp_path: Path) -> None:
    """What the simulator finds is no artefact of it."""
    entry = next(entry for entry in CATALOGUE if entry.name == "cleanup-before-handoff")
    for wrong in (True, False):
        spec = directed(entry, "quorum", 0, wrong=wrong)
        assert spec is not None
        code, line, _ = run(tmp_path, spec)
        assert (code, {a["name"] for a in line["anomalies"]}) == (
            (1, {"lost-write"}) if wrong else (0, set())
        )
