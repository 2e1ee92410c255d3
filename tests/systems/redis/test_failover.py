"""Redis and its Sentinels themselves: what asynchronous replication loses, and what bounds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.schedule import Fault
from tests.systems.foreign_runs import anomalies, chaos, cut_off, run

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]

PRIMARY = "leader(main)"


@pytest.mark.parametrize(
    ("workload", "lost"),
    [("register", "nonlinearizable"), ("set", "lost-write"), ("counter", "counter-under")],
)
def test_a_primary_that_is_cut_off_loses_what_it_acknowledged(
    tmp_path: Path, workload: str, lost: str
) -> None:
    code, output = run(tmp_path, "redis", workload, cut_off(PRIMARY))
    assert code == 1, output
    assert lost in anomalies(tmp_path)


def test_what_waited_for_all_replicas_is_not_lost(tmp_path: Path) -> None:
    """What was not acknowledged may be, though it was read on the primary that was cut off."""
    run(tmp_path, "redis", "set", cut_off(PRIMARY), settings="redis.wait=2")
    history = next(tmp_path.glob("*/history.jsonl"))
    completed = [json.loads(line) for line in history.read_text().splitlines()]
    completed = [op for op in completed if op["type"] == "ok" and op["process"] != "nemesis"]
    acknowledged = [(op["key"], op["value"]) for op in completed if op["f"] == "add"]
    held = {op["key"]: op["value"] for op in completed if op["f"] == "final-read"}
    assert len(acknowledged) > 50
    assert [(key, value) for key, value in acknowledged if value not in held[key]] == []


def test_a_primary_that_is_only_restarted_keeps_its_file(tmp_path: Path) -> None:
    fault = Fault(at_ms=2_000, kind="kill", selector="servers", duration_ms=1_000)
    code, output = run(tmp_path, "redis", "set", fault)
    assert code == 0, output


def test_without_a_file_a_restart_of_all_loses_everything(tmp_path: Path) -> None:
    fault = Fault(at_ms=2_000, kind="kill", selector="servers", duration_ms=1_000)
    code, output = run(tmp_path, "redis", "set", fault, settings="appendonly=no")
    assert code == 1, output
    assert "lost-write" in anomalies(tmp_path)


def test_without_faults_it_is_silent(tmp_path: Path) -> None:
    code, output = run(tmp_path, "redis", "register")
    assert code == 0, output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--on", "sim"), "--on local"),
        (("--on", "local", "--set", "redis.wait=3"), "there are 2 replicas"),
        (("--on", "local", "--nemesis", "clock"), "--set faketime=true"),
        (("--on", "local", "--workload", "eos"), "systems that do"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], said: str) -> None:
    given = ("test", "--system", "redis", *(() if "--workload" in words else ("--workload", "set")))
    code, output = chaos(*given, *words)
    assert code == 2, output
    assert said in output
    assert len(output.strip().splitlines()) == 1


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, output = chaos(
        "test", "--system", "redis", "--workload", "set", "--on", "local", "--out", str(tmp_path)
    )
    assert code == 2, output
    assert "apt-get install redis-server redis-sentinel" in output
    assert len(output.strip().splitlines()) == 1


def test_a_program_that_libfaketime_cannot_move_is_refused(tmp_path: Path) -> None:
    """Redis' allocator asks for the time before the library is ready."""
    words = (
        "--nemesis",
        "clock",
        "--on",
        "local",
        "--set",
        "faketime=true",
        "--set",
        "ready.timeout.ms=8000",
    )
    code, output = chaos("test", "--system", "redis", "--workload", "set", *words, "--out", str(tmp_path))
    assert code == 2, output
    assert "libfaketime" in output
