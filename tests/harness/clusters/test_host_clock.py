"""The clock of a disposable host, with a `date`, a `systemctl` and a `chronyc` that only write down what they are asked:
this machine's own clock is never set."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.clusters.ssh.host_clock import NOTE, HostClock, restoring

ASKED = (
    "pathlib.Path(sys.argv[0]).with_name('asked').open('a').write(' '.join([name, *sys.argv[1:]]) + '\\n')"
)
DATE = """
late_ns = int(float(sys.argv[-1][1:]) * 1e9) - time.time_ns()
pathlib.Path(sys.argv[0]).with_name('ahead').write_text(str(late_ns))
"""
SYSTEMCTL = """
running = pathlib.Path(sys.argv[0]).with_name('running')
services = running.read_text().split() if running.exists() else []
match sys.argv[1]:
    case 'is-active': sys.exit(sys.argv[-1] not in services)
    case 'stop': services.remove(sys.argv[-1])
    case 'start': services.append(sys.argv[-1])
running.write_text(' '.join(services))
"""


class Host:
    """`folder` holds its programs and what they did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.add("date", DATE)

    def add(self, name: str, text: str) -> None:
        program = self.folder / name
        program.write_text(
            f"#!{sys.executable}\nimport pathlib, sys, time\nname = {name!r}\n{ASKED}\n{text}\n"
        )
        program.chmod(0o755)

    def run_services(self, *names: str) -> None:
        self.add("systemctl", SYSTEMCTL)
        (self.folder / "running").write_text(" ".join(names))

    def services(self) -> list[str]:
        return (self.folder / "running").read_text().split()

    def wall_ns(self) -> int:
        ahead = self.folder / "ahead"
        return time.time_ns() + (int(ahead.read_text()) if ahead.exists() else 0)

    def ahead_s(self) -> float:
        return (self.wall_ns() - time.time_ns()) / 1e9

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    folder = tmp_path / "programs"
    folder.mkdir()
    made = Host(folder)
    monkeypatch.setenv("PATH", str(folder))
    assert shutil.which("date") == str(folder / "date")
    return made


@pytest.fixture
def clock(host: Host, tmp_path: Path) -> HostClock:
    return HostClock(tmp_path, wall_ns=host.wall_ns)


def test_it_is_ahead_until_it_is_set_right(host: Host, clock: HostClock, tmp_path: Path) -> None:
    assert clock.move(60_000.0, 1.0) == pytest.approx(60_000, abs=50)
    assert host.ahead_s() == pytest.approx(60, abs=0.05)
    assert clock.move(-5_000.0, 1.0) == pytest.approx(-5_000, abs=50)
    assert (tmp_path / NOTE).exists()
    assert clock.move(0.0, 1.0) == pytest.approx(0, abs=50)
    assert host.ahead_s() == pytest.approx(0, abs=0.05)
    assert not (tmp_path / NOTE).exists()


def test_one_that_was_never_moved_is_never_set(host: Host, clock: HostClock) -> None:
    clock.move(0.0, 1.0)
    clock.restore()
    assert not (host.folder / "asked").exists()


def test_it_drifts_in_steps(host: Host, clock: HostClock) -> None:
    clock.move(1_000.0, 3.0)
    assert clock.drifts
    since = time.monotonic()
    time.sleep(0.1)
    clock.step()
    assert host.ahead_s() == pytest.approx(1 + 2 * (time.monotonic() - since), abs=0.15)
    clock.restore()
    assert not clock.drifts


def test_what_keeps_it_right_is_stopped_before_and_started_after(host: Host, clock: HostClock) -> None:
    host.run_services("ssh", "chronyd")
    clock.move(60_000.0, 1.0)
    assert host.services() == ["ssh"]
    clock.restore()
    assert host.services() == ["ssh", "chronyd"]
    asked = [line for line in host.asked() if "is-active" not in line]
    assert asked[0] == "systemctl stop chronyd"
    assert asked[-1] == "systemctl start chronyd"
    assert all(line.startswith("date -u -s @") for line in asked[1:-1])


def test_a_chronyd_without_systemd_is_told_to_leave_it_alone(host: Host, clock: HostClock) -> None:
    host.add("chronyc", "")
    clock.move(60_000.0, 1.0)
    clock.restore()
    asked = [line for line in host.asked() if line.startswith("chronyc")]
    assert asked == ["chronyc tracking", "chronyc offline", "chronyc online"]


def test_one_that_cannot_be_set_says_so_and_is_left_with_its_keeper(host: Host, clock: HostClock) -> None:
    host.run_services("chronyd")
    host.add("date", "sys.exit('date: cannot set date: Operation not permitted')")
    with pytest.raises(OSError, match="Operation not permitted"):
        clock.move(60_000.0, 1.0)
    with pytest.raises(OSError, match="Operation not permitted"):
        clock.restore()
    assert host.services() == ["chronyd"]


def test_the_note_is_enough_to_set_it_right(host: Host, clock: HostClock, tmp_path: Path) -> None:
    host.run_services("chronyd")
    clock.move(60_000.0, 1.0)
    note = (tmp_path / NOTE).read_text()
    assert json.loads(note)["services"] == ["chronyd"]
    for command in restoring(note, (), sys.executable):
        subprocess.run(["/bin/sh", "-c", command], check=True)
    assert host.ahead_s() == pytest.approx(0, abs=0.5)
    assert host.services() == ["chronyd"]


def test_an_agent_whose_harness_is_gone_sets_it_right(host: Host, tmp_path: Path) -> None:
    host.run_services("chronyd")
    words = [sys.executable, "-m", "harness.clusters.ssh.agent", str(tmp_path / "node"), "run-1", ""]
    moving = {"id": 1, "verb": "set_clock", "offset_ms": 60_000.0, "rate": 1.0}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(json.dumps(moving).encode() + b"\n")
        agent.stdin.flush()
        assert json.loads(agent.stdout.readline())["id"] == 1
        assert host.services() == []
        assert host.ahead_s() > 50
        agent.stdin.close()
        assert agent.wait(20) == 0
    assert host.services() == ["chronyd"]
    assert host.ahead_s() == pytest.approx(0, abs=1)
    assert not (tmp_path / "node" / NOTE).exists()
