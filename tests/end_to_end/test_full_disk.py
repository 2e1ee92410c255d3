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


def test_a_full_disk_ends_a_sweep_which_goes_on_when_there_is_room(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    words = ["sweep", "--system", "toy-bag", "--workload", "bag", "--nemesis", "toy-kill", "--bug", "amnesia"]
    words += ["--time-limit", "8", "--seeds", "4", "--cores", "1", "--out", str(small_disk)]
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(940_000))
    told = chaos(*words)
    assert told.returncode == 2, told.stdout + told.stderr
    [line] = told.stderr.splitlines()
    [folder] = (entry for entry in small_disk.iterdir() if entry != ballast)
    assert "No space left on device" in line
    assert line.endswith(f"finished runs are kept: go on with `chaos sweep --resume {folder}`")
    hidden = [path for path in folder.rglob(".*") if path.is_file()]
    assert hidden == []
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    more = chaos("sweep", "--resume", str(folder))
    assert more.returncode == 0, more.stdout + more.stderr
    assert "lost-write 4/4" in more.stdout


def test_a_report_that_does_not_fit_leaves_no_half_of_one(small_disk: Path) -> None:
    words = ("test", "--system", "toy-bag", "--workload", "bag", "--time-limit", "2")
    told = chaos(*words, "--out", str(small_disk))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "the report could not be written: OSError: [Errno 28] No space left on device" in told.stderr
    assert not list(small_disk.glob("2*/*report.html"))
    assert not list(small_disk.glob("2*/.report.html"))


def chaos(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHAOS, *words], capture_output=True, text=True, timeout=90, check=False)


def read(path: Path) -> bytes:
    """Empty for a process that has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
