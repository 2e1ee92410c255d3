"""The command that runs a test again."""

from __future__ import annotations

import shlex

from harness.spec import Spec


def command(spec: Spec, *, schedule_file: str = "schedule.json") -> str:
    """`chaos test …` with every option that differs from its default."""
    default = Spec()
    words = ["chaos", "test"]
    if spec.system != default.system:
        words += ["--system", spec.system]
    words += ["--workload", spec.workload]
    if spec.schedule is not None:
        words += ["--schedule", schedule_file]
    else:
        words += ["--nemesis", spec.nemesis]
    if spec.backend != default.backend:
        words += ["--on", spec.backend]
    if spec.nodes != default.nodes:
        words += ["--nodes", str(spec.nodes)]
    if spec.concurrency:
        words += ["--concurrency", str(spec.concurrency)]
    if spec.rate:
        words += ["--rate", f"{spec.rate:g}"]
    if spec.time_limit_ms != default.time_limit_ms:
        words += ["--time-limit", f"{spec.time_limit_ms / 1000:g}"]
    if spec.final != default.final:
        words += ["--final", spec.final]
    if spec.client != default.client:
        words += ["--client", spec.client]
    if spec.profile:
        words += ["--profile", spec.profile]
    for key, value in spec.settings.items():
        words += ["--set", f"{key}={_text(value)}"]
    for bug in spec.bugs:
        words += ["--bug", bug]
    words += ["--seed", str(spec.seed)]
    return shlex.join(words)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
