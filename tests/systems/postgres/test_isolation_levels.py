"""PostgreSQL itself, through the command line: what each level promises is kept, and no more is needed to tell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.systems.postgres.runs import chaos, found, run

pytestmark = pytest.mark.real


def test_snapshot_isolation_allows_write_skew_and_nothing_stronger(open_folder: Path) -> None:
    code, output, results = run(
        open_folder, "--workload", "write-skew", "--nemesis", "none", "--set", "isolation=repeatable-read"
    )
    assert code == 0, output
    assert "G2-item" in found(results)
    # Anything stronger, as G-single, snapshot isolation forbids.
    assert found(results) <= {"G2-item", "G2-item-process", "G2-item-realtime"}


def test_a_level_that_was_not_given_is_refuted(open_folder: Path) -> None:
    run(open_folder, "--workload", "write-skew", "--nemesis", "none", "--set", "isolation=repeatable-read")
    # A run's own folder says itself what it must satisfy: the bare history does not.
    history = open_folder / "bare.jsonl"
    shutil.copy(next(open_folder.glob("*/history.jsonl")), history)
    judged = ["check", str(history), "--model", "list-append", "--consistency-model"]
    code, output = chaos(*judged, "serializable")
    assert code == 1, output
    assert "G2-item" in output
    assert chaos(*judged, "snapshot-isolation")[0] == 0


def test_read_committed_loses_updates(open_folder: Path) -> None:
    code, output, results = run(
        open_folder, "--workload", "txn-lost-update", "--nemesis", "none", "--set", "isolation=read-committed"
    )
    assert code == 0, output
    assert "lost-update" in found(results)


@pytest.mark.parametrize("nemesis", ["kill", "pause"])
def test_serializable_is_silent_whatever_happens_to_the_server(open_folder: Path, nemesis: str) -> None:
    code, output, results = run(
        open_folder, "--workload", "append", "--nemesis", nemesis, "--set", "isolation=serializable"
    )
    assert code == 0, output
    assert found(results) == set()


@pytest.mark.parametrize(("synchronous_commit", "code"), [("off", 1), ("on", 0)])
def test_a_kill_loses_what_did_not_wait_for_the_disk(
    open_folder: Path, synchronous_commit: str, code: int
) -> None:
    """Whoever looks last sees it, however late the server is back."""
    words = ("--workload", "append", "--nemesis", "kill", "--time-limit", "8", "--seed", "1")
    ended, output, results = run(open_folder, *words, "--set", f"synchronous_commit={synchronous_commit}")
    assert ended == code, output
    assert bool(found(results)) is bool(code)


def test_a_bank_keeps_its_money_through_kills(open_folder: Path) -> None:
    code, output, results = run(open_folder, "--workload", "bank", "--nemesis", "kill")
    assert code == 0, output
    assert found(results) == set()


def test_read_committed_makes_and_loses_money(open_folder: Path) -> None:
    code, output, results = run(open_folder, "--workload", "bank", "--set", "isolation=read-committed")
    assert code == 0, output
    assert "wrong-total" in found(results)
    asked = ("--set", "isolation=read-committed", "--consistency-model", "snapshot-isolation")
    assert run(open_folder, "--workload", "bank", *asked)[0] == 1


def test_it_cannot_be_simulated(open_folder: Path) -> None:
    code, output, _ = run(open_folder, "--workload", "append", "--on", "sim")
    assert code == 2
    assert "--on local" in output
