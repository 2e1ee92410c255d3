"""The sink in a PostgreSQL outside of everything, brokers as real processes: each of its three modes."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from systems.postgres.installation import program

CHAOS = str(Path(sys.executable).with_name("chaos"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own, as a user that may run one."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="chaos-sink-") as folder:
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        Path(folder).chmod(0o755)
        shutil.chown(data, user)
        make = [program("initdb"), "-D", str(data), "-U", "chaos", "-A", "trust", "--no-locale", "-N"]
        subprocess.run(make, user=user, check=True, capture_output=True, cwd=folder)
        words = [program("postgres"), "-D", str(data), "-p", str(port), "-k", "", "-h", "127.0.0.1"]
        server = subprocess.Popen(words, user=user, cwd=folder, stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            yield f"postgresql://chaos@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(20)


def _wait(port: int) -> None:
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.5)
                return
        time.sleep(0.05)
    raise TimeoutError("PostgreSQL did not start")


def run(out: Path, url: str, *options: str) -> dict[str, Any]:
    command = [CHAOS, "test", "--workload", "sink", "--json", "--out", str(out), "--set", f"sink.url={url}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    [answer] = json.loads(done.stdout)["runs"]
    found: dict[str, Any] = answer
    return found


@pytest.mark.real
@pytest.mark.parametrize("mode", ["upsert", "offsets"])
def test_what_is_exactly_once(tmp_path: Path, url: str, mode: str) -> None:
    options = ("--on", "local", "--nemesis", "kill", "--time-limit", "10", "--set", f"sink.mode={mode}")
    answer = run(tmp_path, url, *options)
    assert (answer["verdict"], answer["reason"], answer["anomalies"]) == ("valid", None, [])


@pytest.mark.real
def test_a_plain_insert_repeats(tmp_path: Path, url: str) -> None:
    settings = ("--set", "sink.mode=insert", "--set", "sink.crash.probability=0.2")
    answer = run(tmp_path, url, "--on", "local", "--nemesis", "none", "--time-limit", "12", *settings)
    assert [a["name"] for a in answer["anomalies"]] == ["consume-duplicate"]


def test_a_simulation_reaches_no_database(tmp_path: Path) -> None:
    command = [CHAOS, "test", "--workload", "sink", "--nemesis", "none", "--out", str(tmp_path)]
    command += ["--time-limit", "5", "--set", "sink.url=postgresql://127.0.0.1:1/x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "leave sink.url empty there or run with --on local" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
