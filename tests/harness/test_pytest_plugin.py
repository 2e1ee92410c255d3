"""The pytest plug-in, from outside: what a user's test file sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TOY = """
import pytest
pytestmark = pytest.mark.chaos(system="toy-bag", workload="bag", time_limit="3s")
"""


@pytest.fixture
def written(toy: None, tmp_path: Path) -> Path:
    return tmp_path / "test_bag.py"


def outcome(path: Path, body: str, *words: str) -> subprocess.CompletedProcess[str]:
    path.write_text(TOY + body)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(path.parent)]
    return subprocess.run(
        [*command, *words, str(path)], capture_output=True, text=True, check=False, cwd=path.parent
    )


def test_a_right_system_passes(written: Path) -> None:
    done = outcome(
        written,
        """
def test_bag(chaos):
    summary = chaos.run(nemesis="toy-kill", seeds=2)
    assert [run.seed for run in summary.runs] == [0, 1]
""",
    )
    assert done.returncode == 0, done.stdout


def test_a_wrong_one_fails_with_its_story_and_keeps_its_folder(written: Path) -> None:
    body = """
def test_bag(chaos):
    chaos.run(nemesis="toy-kill", bugs=["amnesia"], time_limit=10)
"""
    done = outcome(written, body, "--chaos-out", str(written.parent / "kept"))
    assert done.returncode == 1, done.stdout
    assert "invalid: lost-write" in done.stdout
    assert "reproduce  chaos test --system toy-bag" in done.stdout
    assert "Traceback" not in done.stdout
    assert list((written.parent / "kept").glob("*/report.html"))


def test_what_is_expected_must_be_found(written: Path) -> None:
    body = """
def test_found(chaos):
    chaos.run(nemesis="toy-kill", bugs=["amnesia"], time_limit=10, expect=["lost-write"])

def test_not_found(chaos):
    chaos.run(nemesis="toy-kill", expect=["lost-write"])
"""
    done = outcome(written, body)
    assert "1 failed, 1 passed" in done.stdout
    assert "expected but not found: lost-write" in done.stdout


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ('chaos.run(nemesys="kill")', "did you mean 'nemesis'"),
        ('chaos.run(nemesis="toy-kil")', "did you mean 'toy-kill'"),
        ('chaos.run(expect=["lost-wite"])', "did you mean 'lost-write'"),
        ('chaos.run(settings={"bag.mischef": "lost"})', "did you mean 'bag.mischief'"),
        ('chaos.replay("{")', "not a specification"),
    ],
)
def test_a_mistake_in_the_test_is_told(written: Path, call: str, complaint: str) -> None:
    done = outcome(written, f"def test_bag(chaos):\n    {call}\n")
    assert done.returncode == 1
    assert complaint in done.stdout


def test_a_group_that_is_told_to_end_leaves_no_worker(written: Path) -> None:
    written.write_text(TOY + "\ndef test_bag(chaos):\n    chaos.run(seeds=2, cores=1, time_limit=3600)\n")
    kept = written.parent / "kept"
    words = ("-q", "-s", "-p", "no:cacheprovider", "--rootdir", str(written.parent), "--chaos-out", str(kept))
    running = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words, str(written)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=written.parent,
        start_new_session=True,
    )
    wait_until(lambda: any(file.stat().st_size > 1_000 for file in kept.glob("2*/history.jsonl")))
    os.killpg(running.pid, signal.SIGTERM)
    assert running.wait(timeout=20) == -signal.SIGTERM
    # A worker that lived on would hold its standard output.
    running.communicate(timeout=20)


def wait_until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
