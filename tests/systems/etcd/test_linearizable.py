"""etcd itself: linearizable whatever happens, and stale only where it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.schedule import Fault
from tests.systems.foreign_runs import anomalies, chaos, cut_off, run

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]

LEADER = "leader(etcd)"


@pytest.mark.parametrize("workload", ["register", "set", "counter"])
def test_a_leader_that_is_cut_off_acknowledges_nothing_that_is_lost(tmp_path: Path, workload: str) -> None:
    code, output = run(tmp_path, "etcd", workload, cut_off(LEADER))
    assert code == 0, output
    assert "1 of 1 situations reached" in output


@pytest.mark.parametrize("kind", ["kill", "pause"])
def test_a_leader_that_dies_or_stalls_loses_nothing(tmp_path: Path, kind: str) -> None:
    fault = Fault(at_ms=2_000, kind=kind, selector=LEADER, duration_ms=4_000)
    code, output = run(tmp_path, "etcd", "register", fault)
    assert code == 0, output


def test_serializable_reads_are_stale(tmp_path: Path) -> None:
    code, output = run(
        tmp_path, "etcd", "register", cut_off("one-of(followers(etcd))"), settings="etcd.reads=serializable"
    )
    assert code == 1, output
    assert "nonlinearizable" in anomalies(tmp_path)


def test_its_clock_cannot_be_moved_by_libfaketime(tmp_path: Path) -> None:
    """Go asks the kernel itself."""
    words = ("--nemesis", "clock", "--on", "local", "--set", "faketime=true", "--out", str(tmp_path))
    code, output = chaos("test", "--system", "etcd", "--workload", "register", *words)
    assert code == 2, output
    assert "libfaketime does not move the clock" in output


def test_an_election_shorter_than_its_heartbeats_is_refused(tmp_path: Path) -> None:
    words = ("--on", "local", "--set", "election-timeout=200", "--out", str(tmp_path))
    code, output = chaos("test", "--system", "etcd", "--workload", "register", *words)
    assert code == 2, output
    assert "election-timeout=200" in output
