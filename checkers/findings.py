"""Findings: what the kernels of a checker prove, and how they become anomalies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from checkers.blame import blame
from checkers.story import faults_between, tell
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Op
from harness.results import Anomaly

MOST_OPS = 60
MOST_INSTANCES = 100


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One proven instance of an anomaly. `ops` are history indices, the write first where there is one."""

    name: str
    partition: str
    ops: tuple[int, ...]
    value: Any = None
    offset: int | None = None
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


def anomalies_of(
    history: History,
    findings: Sequence[Finding],
    context: CheckContext,
    *,
    sentence: Callable[[Finding, list[Op]], str],
    out_of: Callable[[Finding], tuple[int, str] | None] = lambda _: None,
    allowed: frozenset[str] = frozenset(),
) -> tuple[Anomaly, ...]:
    """One anomaly for each name and partition, in that order, told by its first instance. `out_of` says of how
    many what the instances are a part."""
    if not findings:
        return ()
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.name, finding.partition), []).append(finding)
    by_index = {op.index: op for op in history.ops}
    anomalies: list[Anomaly] = []
    for (name, partition), group in sorted(groups.items()):
        first = group[0]
        ops = [by_index[index] for index in first.ops]
        summary, whole = sentence(first, ops), out_of(first)
        if whole is not None:
            summary += f" ({len(group)} of {whole[0]} {whole[1]} of {partition})"
        elif len(group) > 1:
            summary += f" (and {len(group) - 1} more in {partition})"
        anomalies.append(
            Anomaly(
                name=name,
                summary=summary,
                ops=tuple(dict.fromkeys(op for finding in group for op in finding.ops))[:MOST_OPS],
                blame=blame(name, history, context),
                where=partition,
                affected=len(group),
                out_of=None if whole is None else whole[0],
                faults=faults_between(history, ops),
                story=tell(history, context, ops, partition=partition),
                allowed=name in allowed,
                data={"instances": msgspec.json.decode(msgspec.json.encode(group[:MOST_INSTANCES]))},
            )
        )
    return tuple(anomalies)
