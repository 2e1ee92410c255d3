"""Runs of `chaos test --system postgres`, and what they found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(folder: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    words = ["test", "--system", "postgres", "--on", "local", "--out", str(folder)]
    limit = () if "--time-limit" in arguments else ("--time-limit", "4")
    faults = () if {"--nemesis", "--schedule"} & set(arguments) else ("--nemesis", "none")
    code, output = chaos(*words, *limit, *faults, *arguments)
    files = sorted(folder.glob("*/result.json"))
    return code, output, json.loads(files[-1].read_text()) if files else {}


def chaos(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "chaos"), *words], capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stdout + done.stderr


def found(results: dict[str, Any]) -> set[str]:
    return {anomaly["name"] for result in results["results"] for anomaly in result["anomalies"]}
