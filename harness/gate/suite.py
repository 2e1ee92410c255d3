"""What `chaos.toml`, or `[tool.chaos]` of `pyproject.toml`, says.

budget = "10m"

[[tests]]
name = "exactly once under partitions"
workload = "eos"
nemesis = "partition+kill"
seeds = 20
situations = ["coordinator-failover"]

[[tests]]
name = "acks=1 is known to lose"
workload = "produce"
nemesis = "kill"
settings = { acks = 1 }
seeds = 5
expect = ["lost-write"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness import registry
from harness.errors import UserError, unknown_name
from harness.plan import resolve
from harness.spec import Spec

OWN_FILE = "chaos.toml"
PROJECT = "pyproject.toml"
SECTION = "tool.chaos"


class Test(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """One test: a configuration under `seeds` seeds. Options are those of `chaos test`."""

    __test__ = False

    name: str
    workload: str
    system: str = "broker"
    nemesis: str = "none"
    on: str = "sim"
    nodes: int = 3
    concurrency: int = 0
    rate: float = 0.0
    time_limit: str | float = 60
    final: str = "all"
    client: str = "aiokafka"
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    bugs: tuple[str, ...] = ()
    seed: int = 0
    seeds: int = 1
    expect: tuple[str, ...] = ()
    """Exactly these must be found, over all seeds; empty: none may be."""
    allow_unknown: int = 0
    """So many runs may prove nothing."""
    situations: tuple[str, ...] = ()
    """Each must be reached by some run, or the test is unknown."""
    repeat: int = 2
    """A failure on a backend that is not the simulator is tried again so often, to say how often it comes back."""


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    tests: tuple[Test, ...]
    budget: str | float | None = None
    """Wall time; None: no limit."""
    cores: int | None = None
    corpus: str = "chaos-corpus"
    out: str = "chaos-runs"


def find(path: Path | None, where: Path) -> Path:
    """The file that was named, else `chaos.toml`, else a `pyproject.toml` with the section."""
    if path is not None:
        return path
    if (where / OWN_FILE).exists():
        return where / OWN_FILE
    if (where / PROJECT).exists() and f"[{SECTION}" in (where / PROJECT).read_text():
        return where / PROJECT
    raise UserError(
        f"no {OWN_FILE} here and no [{SECTION}] in a {PROJECT}: name the file, or write one, such as "
        """'[[tests]] name = "orders" workload = "eos" nemesis = "partition"', a line each"""
    )


def load(path: Path) -> Suite:
    """Raises `UserError` for a file that cannot be read, a wrong key, or a test that could never run."""
    try:
        given: Any = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: {error}") from None
    if path.name == PROJECT:
        given = given.get("tool", {}).get("chaos")
        if not isinstance(given, Mapping):
            raise UserError(f"{path} has no section [{SECTION}]")
    try:
        suite = msgspec.convert(given, Suite)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}") from None
    _check(suite, path)
    return suite


def spec_of(test: Test, seed: int) -> Spec:
    from harness.cli.options import parse_duration_ms

    return Spec(
        system=test.system,
        workload=test.workload,
        nemesis=test.nemesis,
        backend=test.on,
        nodes=test.nodes,
        concurrency=test.concurrency,
        rate=test.rate,
        time_limit_ms=parse_duration_ms(str(test.time_limit), "time-limit"),
        seed=seed,
        final=test.final,
        settings=dict(test.settings),
        bugs=test.bugs,
        client=test.client,
    )


def _check(suite: Suite, path: Path) -> None:
    if not suite.tests:
        raise UserError(f"{path}: no [[tests]]")
    names = [test.name for test in suite.tests]
    known = registry.anomalies()
    for test in suite.tests:
        try:
            if names.count(test.name) > 1:
                raise UserError("another test has the same name")
            if test.seeds < 1:
                raise UserError(f"seeds: expected at least 1, got {test.seeds}")
            for anomaly in test.expect:
                if anomaly not in known:
                    raise unknown_name("anomaly", anomaly, known)
            plan = resolve(spec_of(test, test.seed))
            for situation in test.situations:
                if situation not in plan.system.situations:
                    raise unknown_name("situation", situation, plan.system.situations)
        except UserError as error:
            raise UserError(f"{path}: test '{test.name}': {error}") from None
