"""Everything needed to run a test again: what `chaos test` was asked for, with all defaults filled in."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.schedule import Schedule

FORMAT_VERSION = 1


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON form is `spec.json` of a run folder. `settings` are the given `--set`s only, as typed values;
    `config` is everything resolved. `schedule` is set where a file replaced the nemesis."""

    system: str = "broker"
    workload: str = "eos"
    nemesis: str = "none"
    backend: str = "sim"
    nodes: int = 3
    concurrency: int = 0
    """0 until resolved: the workload's default."""
    rate: float = 0.0
    time_limit_ms: int = 60_000
    seed: int = 0
    final: str = "all"
    profile: str = ""
    """A named set of the system's settings; `settings` go over it."""
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    bugs: tuple[str, ...] = ()
    schedule: Schedule | None = None
    client: str = "aiokafka"
    version: int = FORMAT_VERSION
    chaos_version: str = ""
