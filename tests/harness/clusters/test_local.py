"""Real processes on loopback: the same runs, real kills and pauses, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.clusters.process_tree import kernel_state
from harness.errors import UserError
from harness.execute import Outcome, execute
from harness.history import read_history
from harness.results import Verdict
from harness.schedule import Fault, Schedule
from harness.spec import Spec

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("toy")]


def run(root: Path, **asked: Any) -> Outcome:
    defaults: dict[str, Any] = {
        "system": "toy-bag",
        "workload": "bag",
        "backend": "local",
        "time_limit_ms": 2_500,
    }
    return execute(Spec(**{**defaults, **asked}), root=root)


def node_processes(root: Path) -> list[int]:
    """Processes whose command line names a file below `root`."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(root).encode() in command and b"--environment" in command:
                found.append(int(entry.name))
    return found


def test_killed_nodes_come_back_with_their_disks(tmp_path: Path) -> None:
    outcome = run(tmp_path, nemesis="toy-kill")
    assert outcome.result.verdict is Verdict.VALID, outcome.result.reason
    assert outcome.result.faults["bitten"] == 2
    assert outcome.result.situations["node-served"] == 5
    assert outcome.cleanup == ()
    assert node_processes(tmp_path) == []


def test_what_was_kept_in_memory_only_is_lost(tmp_path: Path) -> None:
    result = run(tmp_path, nemesis="toy-kill", bugs=("amnesia",)).result
    assert result.verdict is Verdict.INVALID


def test_a_paused_node_answers_late(tmp_path: Path) -> None:
    pause = Fault(at_ms=500, kind="pause", selector="n1", duration_ms=800)
    outcome = run(tmp_path, schedule=Schedule((pause,)))
    assert outcome.result.verdict is Verdict.VALID, outcome.result.reason
    assert outcome.folder is not None
    history = read_history(outcome.folder / "history.jsonl")
    paused = next(op for op in history.faults if op.f == "pause" and op.type == "ok")
    assert paused.value["verified"] is True
    assert "state T" in paused.value["detail"]
    assert max(op.end - op.start for op in history.operations if op.end is not None) > 600e6


def test_a_client_cannot_be_paused_and_that_is_told(tmp_path: Path) -> None:
    pause = Fault(at_ms=500, kind="pause", selector="client-0", duration_ms=500)
    outcome = run(tmp_path, schedule=Schedule((pause,)))
    assert outcome.result.faults["bitten"] == 0
    assert outcome.folder is not None
    told = [op for op in read_history(outcome.folder / "history.jsonl").faults if op.type == "ok"]
    assert [op.value["verified"] for op in told] == [False, True]


def test_a_node_that_never_starts_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)node n1 did not start \(exit code 4\).*no such disk"):
        run(tmp_path, system="toy-mute")
    assert node_processes(tmp_path) == []


def test_a_node_that_dies_by_itself_is_noticed(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [
            *(sys.executable, "-c", "from harness.cli import main; main()", "test"),
            *("--system", "toy-bag", "--workload", "bag", "--on", "local", "--time-limit", "3"),
            *("--set", "recovery.timeout.ms=500", "--out", str(tmp_path), "--json"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    victim = wait_for(lambda: [p for p in node_processes(tmp_path) if node_of(p) == "n2"])
    time.sleep(1)
    os.kill(victim, signal.SIGKILL)
    told = msgspec.json.decode(running.communicate(timeout=60)[0])
    assert running.returncode == 3
    assert "node n2 died by itself" in told["reason"]


def test_nodes_do_not_outlive_a_killed_harness(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [
            *(sys.executable, "-c", "from harness.cli import main; main()", "test", "--system", "toy-bag"),
            *("--workload", "bag", "--on", "local", "--time-limit", "60", "--out", str(tmp_path)),
        ],
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: [1] if len(node_processes(tmp_path)) == 3 else [])
    time.sleep(1)
    running.kill()
    running.wait()
    wait_for(lambda: [] if node_processes(tmp_path) else [1])


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_paused_nodes_do_not_outlive_their_harness(tmp_path: Path, how: signal.Signals, code: int) -> None:
    pauses = Schedule((Fault(at_ms=0, kind="pause", selector="all", duration_ms=60_000),))
    schedule = tmp_path / "schedule.json"
    schedule.write_bytes(msgspec.json.encode(pauses))
    running = subprocess.Popen(
        [
            *(sys.executable, "-c", "from harness.cli import main; main()", "test", "--system", "toy-bag"),
            *("--workload", "bag", "--on", "local", "--time-limit", "60", "--out", str(tmp_path)),
            *("--schedule", str(schedule), "--set", "op.timeout.ms=500"),
        ],
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: [1] if sum(kernel_state(p) == "T" for p in node_processes(tmp_path)) == 3 else [])
    running.send_signal(how)
    assert running.wait(timeout=60) == code
    wait_for(lambda: [] if node_processes(tmp_path) else [1])


def test_sigterm_undoes_the_faults_and_judges_what_there_is(tmp_path: Path) -> None:
    schedule = tmp_path / "schedule.json"
    cut = Schedule((Fault(at_ms=0, kind="partition", selector="n1", duration_ms=60_000),))
    schedule.write_bytes(msgspec.json.encode(cut))
    running = subprocess.Popen(
        [
            *(sys.executable, "-c", "from harness.cli import main; main()", "test", "--system", "toy-bag"),
            *("--workload", "bag", "--on", "local", "--time-limit", "60", "--out", str(tmp_path), "--json"),
            *("--schedule", str(schedule)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: [1] if b'"ok"' in b"".join(f.read_bytes() for f in histories(tmp_path)) else [])
    time.sleep(1)
    running.send_signal(signal.SIGTERM)
    [told] = msgspec.json.decode(running.communicate(timeout=60)[0])["runs"]
    assert running.returncode == 130
    assert told["verdict"] == "valid", told["reason"]
    assert node_processes(tmp_path) == []
    [file] = histories(tmp_path)
    history = read_history(file)
    assert [op.f for op in history.faults if op.type == "ok"] == ["partition", "heal-partition"]
    assert history.operations[-1].f == "read"


def histories(root: Path) -> list[Path]:
    return list(root.glob("2*/history.jsonl"))


def test_up_serves_until_ctrl_c(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [
            *(sys.executable, "-c", "from harness.cli import main; main()", "up", "toy-bag"),
            *("--nodes", "2", "--set", "bag.size=2", "--dir", str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    servers = running.stdout.readline().removeprefix("bootstrap servers: ").strip().split(",")
    assert len(servers) == 2
    host, port = servers[0].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"add 1\nall\n")
        assert connection.makefile().readline() == "ok\n"
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=20) == 0
    assert node_processes(tmp_path) == []


def up(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from harness.cli import main; main()", "up", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_up_tells_of_a_node_that_is_killed_and_goes_on(tmp_path: Path) -> None:
    running = up("toy-bag", "--json", "--dir", str(tmp_path))
    assert running.stdout is not None
    assert running.stderr is not None
    told = msgspec.json.decode(running.stdout.readline())
    assert told["bootstrap_servers"] == ",".join(node["address"] for node in told["nodes"])
    os.kill(told["nodes"][1]["pid"], signal.SIGKILL)
    assert running.stderr.readline() == "chaos: node n2 ended: exit code -9: (empty)\n"
    host, port = told["nodes"][0]["address"].split(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=20) == 0
    assert running.stderr.read() == "stopping\n"
    assert node_processes(tmp_path) == []
    for node in told["nodes"]:
        with pytest.raises(OSError):
            socket.create_connection((host, int(node["address"].split(":")[1])), timeout=5)


def test_up_of_nodes_that_do_not_start_ends_and_keeps_their_logs(tmp_path: Path) -> None:
    ended = up("toy-mute", "--dir", str(tmp_path))
    stderr = ended.communicate(timeout=30)[1]
    assert ended.returncode == 2
    assert "node n1 did not start (exit code 4)" in stderr
    assert "no such disk" in (tmp_path / "n1.log").read_text()
    assert node_processes(tmp_path) == []


def test_up_is_interrupted_while_it_starts(tmp_path: Path) -> None:
    running = up("toy-bag", "--set", "bag.size=1", "--dir", str(tmp_path))
    wait_for(lambda: node_processes(tmp_path))
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=20) == 0
    wait_for(lambda: [] if node_processes(tmp_path) else [1])


def wait_for(look: Any) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = look()
        if found:
            return int(found[0])
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def node_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2].decode().split("/")[-2]
