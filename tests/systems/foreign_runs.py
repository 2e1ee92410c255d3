"""Runs of programs that we did not write, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from harness.schedule import Fault, Schedule


def chaos(*words: str, timeout_s: float = 110) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "chaos"), *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    return done.returncode, done.stdout + done.stderr


def run(folder: Path, system: str, workload: str, *faults: Fault, settings: str = "") -> tuple[int, str]:
    """Twelve seconds on backend local with exactly these faults; settings are words `KEY=VALUE`."""
    schedule = folder / "faults.json"
    schedule.write_bytes(msgspec.json.encode(Schedule(faults)))
    words = ["test", "--system", system, "--workload", workload, "--on", "local", "--time-limit", "12"]
    words += [word for setting in settings.split() for word in ("--set", setting)]
    return chaos(*words, "--schedule", str(schedule), "--out", str(folder))


def anomalies(folder: Path) -> list[str]:
    """Their names, each once."""
    text = sorted(folder.glob("*/result.json"))[-1].read_text()
    names: dict[str, None] = {}

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for anomaly in value.get("anomalies") or ():
                names[anomaly["name"]] = None
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(json.loads(text))
    return list(names)


def cut_off(selector: str) -> Fault:
    """From all other nodes, not from the clients."""
    return Fault(
        at_ms=2_000,
        kind="partition",
        selector=selector,
        duration_ms=6_000,
        params={"shape": "isolate", "direction": "both", "how": "drop", "clients": False},
    )
