"""Everything pluggable, found by name through packaging entry points.

Groups: `chaos.systems`, `chaos.workloads`, `chaos.nemeses`, `chaos.checkers`, `chaos.backends`.
An entry point names a class (or factory) without arguments; third parties use the same mechanism.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from harness.errors import UserError, unknown_name

Group = Literal["systems", "workloads", "nemeses", "checkers", "backends"]
_SINGULAR = {
    "systems": "system",
    "workloads": "workload",
    "nemeses": "nemesis",
    "checkers": "checker",
    "backends": "backend",
}


@cache
def _points(group: Group) -> dict[str, EntryPoint]:
    return {p.name: p for p in sorted(entry_points(group=f"chaos.{group}"), key=lambda p: p.name)}


def names(group: Group) -> tuple[str, ...]:
    """The registered names of a group, sorted, without importing anything."""
    return tuple(_points(group))


def load(group: Group, name: str) -> Any:
    """A new instance of what is registered under `name`. Raises `UserError` with the nearest known name."""
    points = _points(group)
    if name not in points:
        raise unknown_name(_SINGULAR[group], name, points)
    try:
        factory = points[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{_SINGULAR[group]} '{name}' is registered as {points[name].value} but cannot be loaded: {error}"
        ) from error
    return factory()


def anomalies() -> frozenset[str]:
    """Every name that a registered checker can report."""
    return frozenset(name for checker in names("checkers") for name in load("checkers", checker).anomalies)
