"""PostgreSQL itself, through the command line: what each level promises is kept, and no more is needed to tell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """pytest's own is closed to others, and as root the server runs as another user."""
    with tempfile.TemporaryDirectory(prefix="chaos-postgres-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def run(tmp_path: Path, *arguments: str) -> tuple[int, str, dict[str, object]]:
    words = ["test", "--system", "postgres", "--on", "local", "--time-limit", "4", "--out", str(tmp_path)]
    code, output = chaos(*words, *arguments)
    files = sorted(tmp_path.glob("*/result.json"))
    return code, output, json.loads(files[-1].read_text()) if files else {}


def chaos(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "chaos"), *words], capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stdout + done.stderr


def found(results: dict[str, object]) -> set[str]:
    """The names of all anomalies in it, wherever they stand."""
    names: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for anomaly in value.get("anomalies") or ():
                names.add(anomaly["name"])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(results)
    return names


def test_snapshot_isolation_allows_write_skew_and_nothing_stronger(tmp_path: Path) -> None:
    code, output, results = run(
        tmp_path, "--workload", "write-skew", "--nemesis", "none", "--set", "isolation=repeatable-read"
    )
    assert code == 0, output
    assert "G2-item" in found(results)
    # Anything stronger, as G-single, snapshot isolation forbids.
    assert found(results) <= {"G2-item", "G2-item-process", "G2-item-realtime"}


def test_a_level_that_was_not_given_is_refuted(tmp_path: Path) -> None:
    run(tmp_path, "--workload", "write-skew", "--nemesis", "none", "--set", "isolation=repeatable-read")
    # A run's own folder says itself what it must satisfy: the bare history does not.
    history = tmp_path / "bare.jsonl"
    shutil.copy(next(tmp_path.glob("*/history.jsonl")), history)
    judged = ["check", str(history), "--model", "list-append", "--consistency-model"]
    code, output = chaos(*judged, "serializable")
    assert code == 1, output
    assert "G2-item" in output
    assert chaos(*judged, "snapshot-isolation")[0] == 0


def test_read_committed_loses_updates(tmp_path: Path) -> None:
    code, output, results = run(
        tmp_path, "--workload", "txn-lost-update", "--nemesis", "none", "--set", "isolation=read-committed"
    )
    assert code == 0, output
    assert "lost-update" in found(results)


@pytest.mark.parametrize("nemesis", ["kill", "pause"])
def test_serializable_is_silent_whatever_happens_to_the_server(tmp_path: Path, nemesis: str) -> None:
    code, output, results = run(
        tmp_path, "--workload", "append", "--nemesis", nemesis, "--set", "isolation=serializable"
    )
    assert code == 0, output
    assert found(results) == set()


def test_a_kill_loses_no_commit_that_waited_for_the_disk(tmp_path: Path) -> None:
    """The lists outlive the outage, so that a loss would be seen."""
    code, output, results = run(
        tmp_path, *("--workload", "append", "--nemesis", "kill"), *("--set", "append.uses=2000")
    )
    assert code == 0, output
    assert found(results) == set()


def test_it_cannot_be_simulated(tmp_path: Path) -> None:
    code, output, _ = run(tmp_path, "--workload", "append", "--on", "sim")
    assert code == 2
    assert "--on local" in output
