"""The bug catalogue's vocabulary: a real mistake, where it was made, what exposes it and what it must be called.

A system lists its own as `catalogue` (a sequence of `Entry`); `chaos bugs` tells them and `chaos bugs --verify` holds
checkers, nemeses and mistakes against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from harness.schedule import Schedule
from harness.spec import Spec

Kind = Literal["mutant", "configuration"]


class Directed(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that reaches the mistake; what is under way when it strikes differs from seed to seed."""

    schedule: Schedule
    workload: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    time_limit_ms: int = 20_000
    rate: float = 40.0
    nodes: int = 3
    concurrency: int = 0
    """0: the workload's own."""
    expect: tuple[str, ...] = ()
    """Where the directed run shows something else than random ones; empty: the entry's."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` expose the mistake; with `kind` `configuration` they are the mistake, and `safe` mends it. The safe
    twin of a mutant is the same run without it."""

    name: str
    mechanism: str
    source: str
    expect: tuple[str, ...]
    """Any one of these names is a catch."""
    kind: Kind = "mutant"
    priority: int = 1
    workload: str = "produce"
    nemesis: str = "none"
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    safe: dict[str, Any] = msgspec.field(default_factory=dict)
    remedy: str = ""
    """What the safe twin does right, in words."""
    directed: Directed | None = None
    nodes: int | None = None
    """None: as many as `chaos test` takes."""


def with_schedules(entries: Iterable[Entry], schedules: Mapping[str, Directed]) -> tuple[Entry, ...]:
    """The entries, those without a directed schedule with the one of their name."""
    return tuple(
        msgspec.structs.replace(entry, directed=entry.directed or schedules.get(entry.name))
        for entry in entries
    )


def exposing(entry: Entry, system: str, seed: int, *, wrong: bool = True) -> Spec:
    """The run with random faults that should catch it; with `wrong` false, its safe twin."""
    mutant = entry.kind == "mutant"
    settings = entry.settings if wrong or mutant else {**entry.settings, **entry.safe}
    return Spec(
        system=system,
        workload=entry.workload,
        nemesis=entry.nemesis,
        settings=settings,
        bugs=(entry.name,) if mutant and wrong else (),
        nodes=entry.nodes or Spec().nodes,
        seed=seed,
    )


def directed(entry: Entry, system: str, seed: int, *, wrong: bool = True) -> Spec | None:
    """The same with its directed schedule; None where it has none."""
    script = entry.directed
    if script is None:
        return None
    mutant = entry.kind == "mutant"
    settings = {**script.settings} if wrong or mutant else {**script.settings, **entry.safe}
    return Spec(
        system=system,
        workload=script.workload,
        schedule=script.schedule,
        settings=settings,
        bugs=(entry.name,) if mutant and wrong else (),
        nodes=script.nodes,
        concurrency=script.concurrency,
        rate=script.rate,
        time_limit_ms=script.time_limit_ms,
        seed=seed,
    )
