"""Findings: what the kernels of a checker prove, and how they become anomalies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from checkers.blame import blame
from checkers.narrative import share
from checkers.outages import Outage
from checkers.story import Beat, active_between, compose
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


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One instance for a reader: a sentence without its full stop, the story, and the span of time that it is
    about (without proofs that come long after). `data` is a picture's raw material."""

    summary: str
    beats: Sequence[Beat]
    start: int
    end: int
    data: dict[str, Any] = msgspec.field(default_factory=dict)


def anomalies_of(
    history: History,
    findings: Sequence[Finding],
    context: CheckContext,
    *,
    explain: Callable[[Finding, list[Op]], Explanation],
    faults: Sequence[Outage],
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
        told = explain(first, [by_index[index] for index in first.ops])
        whole = out_of(first)
        instances = msgspec.json.decode(msgspec.json.encode(group[:MOST_INSTANCES]))
        anomalies.append(
            Anomaly(
                name=name,
                summary=told.summary + _extent(len(group), whole, partition),
                ops=tuple(dict.fromkeys(op for finding in group for op in finding.ops))[:MOST_OPS],
                blame=blame(name, history, context),
                where=partition,
                affected=len(group),
                out_of=None if whole is None else whole[0],
                faults=active_between(faults, told.start, told.end),
                story=compose(told.beats),
                allowed=name in allowed,
                data={**told.data, "instances": instances},
            )
        )
    return tuple(anomalies)


def _extent(count: int, whole: tuple[int, str] | None, partition: str) -> str:
    """How much it concerns, in brackets."""
    if whole is not None and whole[0] >= count:
        return f" ({count} of {whole[0]} {whole[1]} of {partition}, {share(count, whole[0])})"
    return f" (and {count - 1} more in {partition})" if count > 1 else ""
