"""`doctor --clean` removes what carries the name of a run that is over, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec
import pytest

from harness.leftovers import NAMESPACE, RULE, on_this_machine
from harness.run_id import VARIABLE, new_run_id

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def of_a_dead_harness() -> str:
    script = "from harness.run_id import new_run_id; print(new_run_id())"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_processes_of_dead_runs_end_others_live() -> None:
    left = subprocess.Popen(SLEEP, env={**os.environ, VARIABLE: of_a_dead_harness()})
    used = subprocess.Popen(SLEEP, env={**os.environ, VARIABLE: new_run_id()})
    strange = subprocess.Popen(SLEEP, env={**os.environ, VARIABLE: "somebody-else"})
    try:
        time.sleep(0.3)
        told = subprocess.run(
            [sys.executable, "-c", "from harness.cli import main; main()", "doctor", "--clean", "--json"],
            capture_output=True,
            check=True,
        )
        assert msgspec.json.decode(told.stdout)["in_use"]
        assert left.wait(timeout=10) == -9
        assert used.poll() is None
        assert strange.poll() is None
    finally:
        for process in (left, used, strange):
            process.kill()
            process.wait()


def test_the_own_process_is_no_leftover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, of_a_dead_harness())
    assert not any(f"process {os.getpid()} " in leftover.what for leftover in on_this_machine())


def test_namespaces_and_rules_tell_their_run() -> None:
    run = new_run_id()
    named = NAMESPACE.match(f"chaos.{run}.h1")
    assert named is not None
    assert named[1] == run
    assert NAMESPACE.match("chaos-of-my-own") is None
    rule = RULE.search(f'-A INPUT -s 10.0.0.1/32 -m comment --comment "chaos:{run}" -j DROP')
    assert rule is not None
    assert rule[1] == run
