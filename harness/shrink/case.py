"""What is made small: a specification with its faults spelled out, and the anomaly that must stay."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.campaign import RunLine
from harness.spec import Spec

OPS_LIMIT = "ops.limit"


class Size(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """Smaller is what a person would rather read; compared field by field in this order."""

    faults: int
    operations: int
    clients: int
    nodes: int
    time_ms: int
    """Of the main phase."""
    fault_ms: int
    """The time during which faults are in force, summed up."""
    details: int
    """Settings, bugs and parameters of faults that differ from nothing."""

    def __str__(self) -> str:
        return (
            f"{_counted(self.faults, 'fault')}, {_counted(self.operations, 'operation')}, "
            f"{_counted(self.clients, 'client')}, {_counted(self.nodes, 'node')}, {self.time_ms / 1000:g} s"
        )


class Case(msgspec.Struct, frozen=True):
    """A failing run: `spec.schedule` is set. `operations` are those that completed, the final phase included."""

    spec: Spec
    operations: int

    @property
    def size(self) -> Size:
        spec = self.spec
        faults = () if spec.schedule is None else spec.schedule.faults
        return Size(
            faults=len(faults),
            operations=self.operations,
            clients=spec.concurrency,
            nodes=spec.nodes,
            time_ms=spec.time_limit_ms,
            fault_ms=sum(spec.time_limit_ms if f.duration_ms is None else f.duration_ms for f in faults),
            details=len([k for k in spec.settings if k != OPS_LIMIT])
            + len(spec.bugs)
            + sum(len(f.params) for f in faults),
        )


def operations(run: RunLine) -> int:
    return sum(run.ops.values())


def shows(run: RunLine, anomaly: str) -> bool:
    return any(found.name == anomaly for found in run.anomalies)


def with_settings(spec: Spec, **changes: Any) -> Spec:
    """A changed specification: `config` is derived again when it runs."""
    return msgspec.structs.replace(spec, config={}, **changes)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
