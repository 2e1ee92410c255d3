"""The harness's own disk is full: one line, exit code 2, nothing left running, and what was recorded can be judged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.history import read_history

pytestmark = [
    pytest.mark.real,
    pytest.mark.usefixtures("toy"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk"),
]

CHAOS = (sys.executable, "-c", "from harness.cli import main; main()")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("backend", ["sim", "local"])
def test_a_full_disk_ends_the_run_and_keeps_what_was_recorded(small_disk: Path, backend: str) -> None:
    words = ("test", "--system", "toy-bag", "--workload", "bag", "--on", backend, "--out", str(small_disk))
    told = chaos(*words, "--time-limit", "60")
    assert told.returncode == 2, told.stdout + told.stderr
    [line] = told.stderr.splitlines()
    assert line.startswith("chaos: cannot write ")
    assert "No space left on device: what was recorded so far is there, and `chaos check " in line
    assert told.stdout == ""
    [folder] = small_disk.glob("2*")
    assert f"`chaos check {folder}` judges it" in line
    assert len(read_history(folder / "history.jsonl").operations) > 100
    for node in Path("/proc").glob("[0-9]*/cmdline"):
        assert str(small_disk).encode() not in read(node)
    judged = chaos("check", str(folder))
    assert judged.returncode == 3, judged.stdout + judged.stderr
    assert "judged by what it had written" in judged.stdout
    assert "chaos: cannot write to" in judged.stderr
    assert not (folder / ".result.json").exists()


def chaos(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHAOS, *words], capture_output=True, text=True, timeout=90, check=False)


def read(path: Path) -> bytes:
    """Empty for a process that has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
