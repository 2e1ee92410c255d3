"""Backend `ssh` against real `sshd`s in network namespaces, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.clusters.ssh_hosts import Hosts, ssh_hosts, what_is_missing

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(what_is_missing()), reason=f"no hosts can be made here: {what_is_missing()}"),
]

CHAOS = str(Path(sys.executable).parent / "chaos")
SHORT = ("--set", "ssh.connect.timeout.ms=3000")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with ssh_hosts(6, tmp_path_factory.mktemp("hosts")) as made:
        yield made


def chaos(hosts: Hosts, out: Path, *words: str) -> tuple[int, str]:
    command = [CHAOS, "test", "--on", "ssh", "--set", f"ssh.inventory={hosts.inventory}", "--out", str(out)]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout + done.stderr


def left_behind(hosts: Hosts) -> list[str]:
    """Node processes and folders of runs, and rules of firewalls."""
    folders = [str(path) for path in hosts.folder.glob("host-*/chaos/runs/*")]
    processes = subprocess.run(["pgrep", "-af", str(hosts.folder)], capture_output=True, text=True)
    nodes = [line for line in processes.stdout.splitlines() if "--environment" in line or "ssh.agent" in line]
    rules: list[str] = []
    for number in range(len(hosts.addresses)):
        listed = ["ip", "netns", "exec", hosts.namespace(number), "iptables", "-S", "INPUT"]
        said = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
        rules += [line for line in said if line.startswith("-A")]
    return folders + nodes + rules


def last_run(out: Path) -> Path:
    return sorted(path for path in out.iterdir() if path.is_dir() and not path.is_symlink())[-1]


@pytest.mark.parametrize("nemesis", ["partition", "kill", "clock+slow-disk+power", "slow-links"])
def test_exactly_once_holds(hosts: Hosts, tmp_path: Path, nemesis: str) -> None:
    code, output = chaos(hosts, tmp_path, "--workload", "eos", "--nemesis", nemesis, "--time-limit", "15")
    assert code == 0, output
    run = last_run(tmp_path)
    faults = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    bitten = [f for f in faults if f["process"] == "nemesis" and f["type"] == "ok"]
    assert bitten
    assert all(fault["value"]["verified"] is True for fault in bitten)
    assert (run / "b1.log").exists()
    assert left_behind(hosts) == []


def test_a_harness_that_is_killed_leaves_nothing(hosts: Hosts, tmp_path: Path) -> None:
    words = ["--workload", "eos", "--nemesis", "partition", "--time-limit", "60", "--out", str(tmp_path)]
    command = [CHAOS, "test", "--on", "ssh", "--set", f"ssh.inventory={hosts.inventory}", *words]
    harness = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    history = None
    deadline = time.monotonic() + 60
    while history is None or '"partition"' not in history.read_text():
        assert time.monotonic() < deadline and harness.poll() is None
        history = next(iter(tmp_path.glob("*/history.jsonl")), None)
        time.sleep(0.2)
    harness.kill()
    harness.wait()
    deadline = time.monotonic() + 20
    while [each for each in left_behind(hosts) if "/runs/" not in each or "--environment" in each]:
        assert time.monotonic() < deadline, left_behind(hosts)
        time.sleep(0.5)
    assert left_behind(hosts), "its folders, with the logs that nobody fetched"
    clean = [CHAOS, "doctor", "--clean"]
    cleaned = subprocess.run(clean, capture_output=True, text=True, cwd=hosts.inventory.parent, timeout=100)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert left_behind(hosts) == []


def refused(hosts: Hosts, tmp_path: Path, *words: str) -> str:
    """The one line."""
    code, output = chaos(hosts, tmp_path, *SHORT, *words)
    assert code == 2, output
    assert len(output.strip().splitlines()) == 1, output
    assert left_behind(hosts) == []
    return output


def test_a_host_key_that_is_not_the_known_one(hosts: Hosts, tmp_path: Path) -> None:
    lines = hosts.known_hosts.read_text().splitlines()
    other = lines[1].split(maxsplit=1)[1]
    wrong = tmp_path / "known"
    wrong.write_text("\n".join([f"{hosts.addresses[0]} {other}", *lines[1:]]) + "\n")
    hosts.write_inventory(known_hosts=str(wrong))
    try:
        output = refused(hosts, tmp_path / "out")
    finally:
        hosts.write_inventory()
    assert hosts.addresses[0] in output and "its key is not the one in" in output


def test_a_host_that_nobody_knows(hosts: Hosts, tmp_path: Path) -> None:
    unknown = tmp_path / "known"
    unknown.write_text("\n".join(hosts.known_hosts.read_text().splitlines()[1:]) + "\n")
    hosts.write_inventory(known_hosts=str(unknown))
    try:
        output = refused(hosts, tmp_path / "out")
    finally:
        hosts.write_inventory()
    assert "ssh-keyscan" in output


def test_a_wrong_key(hosts: Hosts, tmp_path: Path) -> None:
    key = tmp_path / "other-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    hosts.write_inventory(key=str(key))
    try:
        output = refused(hosts, tmp_path / "out")
    finally:
        hosts.write_inventory()
    assert "authorized_keys" in output


def test_a_host_that_does_not_answer(hosts: Hosts, tmp_path: Path) -> None:
    hosts.write_inventory()
    nobody = f"{hosts.network}.200"
    hosts.inventory.write_text(hosts.inventory.read_text().replace(hosts.addresses[2], nobody))
    try:
        output = refused(hosts, tmp_path / "out")
    finally:
        hosts.write_inventory()
    assert nobody in output and "cannot be reached" in output


def test_too_few_hosts(hosts: Hosts, tmp_path: Path) -> None:
    output = refused(hosts, tmp_path / "out", "--nodes", "5")
    assert "6 hosts" in output and "needs 8" in output


def test_a_port_in_use(hosts: Hosts, tmp_path: Path) -> None:
    holding = [*("ip", "netns", "exec", hosts.namespace(0)), sys.executable, "-c"]
    holding.append(
        f"import socket; s = socket.create_server(('{hosts.addresses[0]}', 9092)); print(flush=True); input()"
    )
    holder = subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline()
    try:
        output = refused(hosts, tmp_path / "out")
    finally:
        holder.communicate(b"\n", timeout=10)
    assert "port 9092" in output


def test_a_node_that_never_becomes_ready(hosts: Hosts, tmp_path: Path) -> None:
    place = tmp_path / "python"
    place.write_text(
        '#!/bin/sh\ncase "$*" in *systems.broker*) echo no such luck; exit 7;; esac\n'
        f'exec {Path(sys.base_prefix) / "bin" / "python3"} "$@"\n'
    )
    place.chmod(0o755)
    hosts.write_inventory(python=str(place))
    try:
        code, output = chaos(hosts, tmp_path / "out")
    finally:
        hosts.write_inventory()
    assert code == 2, output
    assert "did not start (exit code 7)" in output and "no such luck" in output
    assert left_behind(hosts) == []
