"""The workloads through the real runner, simulator, broker and client: short runs without faults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def run(out: Path, workload: str, *settings: str) -> dict[str, Any]:
    chaos = str(Path(sys.executable).with_name("chaos"))
    command = [chaos, "test", "--json", "--out", str(out), "--nemesis", "none"]
    command += ["--workload", workload, "--time-limit", "10"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    [answer] = json.loads(done.stdout)["runs"]
    found: dict[str, Any] = answer
    return found


@pytest.mark.parametrize(
    ("workload", "settings"),
    [
        ("produce", []),
        ("produce", ["produce.batch.records=3", "produce.partitions=1"]),
        ("eos", []),
        ("eos", ["eos.assignment=subscribe"]),
        ("txn", []),
        ("queue", []),
        ("keyed-order", []),
        ("compacted-kv", []),
        ("offsets", []),
        ("sink", []),
        ("sink", ["sink.mode=upsert"]),
        ("fanout", []),
        ("slow-consumer", []),
        ("hot-key", []),
    ],
)
def test_nothing_to_find_without_faults(tmp_path: Path, workload: str, settings: list[str]) -> None:
    answer = run(tmp_path, workload, *settings)
    assert (answer["verdict"], answer["reason"], answer["anomalies"]) == ("valid", None, [])
    assert answer["ops"]["ok"] > 200


@pytest.mark.parametrize(
    ("workload", "settings", "expected"),
    [
        ("txn", ["isolation.level=read_uncommitted"], "aborted-read"),
        ("keyed-order", ["keyed-order.partitioner=mixed"], "key-order-violation"),
        ("sink", ["sink.mode=insert", "sink.crash.probability=0.2"], "consume-duplicate"),
        ("slow-consumer", ["log.retention.bytes=1000", "log.segment.bytes=1024"], "consume-lost"),
        ("hot-key", ["hot-key.strategy=salted"], "counter-under"),
    ],
)
def test_what_is_unsafe_is_named(tmp_path: Path, workload: str, settings: list[str], expected: str) -> None:
    answer = run(tmp_path, workload, *settings)
    assert answer["verdict"] == "invalid"
    assert expected in {a["name"] for a in answer["anomalies"]}


def test_read_uncommitted_is_named(tmp_path: Path) -> None:
    answer = run(tmp_path, "eos", "isolation.level=read_uncommitted")
    assert answer["verdict"] == "invalid"
    assert {a["name"] for a in answer["anomalies"]} == {"aborted-read"}
