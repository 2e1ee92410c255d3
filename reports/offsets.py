"""An offset strip: what the witnesses saw at the offsets in question, a row for each kind of operation.

Works on the way in which log workloads write records down: `[partition, offset, value]` anywhere in an
operation's value, or a send's key, value and `offset`. Reads that say from where to where they went
(`from`, `next`) also show what was not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from harness.ops import Operation
from reports.operations import brief

AROUND = 2
"""Offsets shown to each side."""
WIDEST = 14
MOST_OPS = 120
MOST_ROWS = 12
FEW = 4
"""An operation with so few records is about them; one with more only happens to have read them."""


class Seen(NamedTuple):
    partition: str
    offset: int
    value: str


class Cell(msgspec.Struct, frozen=True):
    """`text` None: this operation does not speak of the offset. `absent`: it does, and nothing was there."""

    text: str | None
    absent: bool = False
    differs: bool = False


class Row(msgspec.Struct, frozen=True):
    op: int
    label: str
    cells: list[Cell]


class Strip(msgspec.Struct, frozen=True):
    partition: str
    offsets: list[int]
    rows: list[Row]
    focus: list[int]


class _Line(msgspec.Struct):
    """A row in the making: several small operations of one kind share one, as long as they agree."""

    operation: Operation
    few: bool
    here: dict[int, str]
    reach: list[tuple[int, int]]
    processes: set[str]

    def covers(self, offset: int) -> bool:
        return any(start <= offset < end for start, end in self.reach)

    def agrees(self, other: Mapping[int, str]) -> bool:
        return all(self.here.get(offset, value) == value for offset, value in other.items())


def is_sweep(operation: Operation) -> bool:
    return operation.outcome == "ok" and _went(operation) is not None


def strip(
    proving: Sequence[Operation], sweeps: Sequence[Operation] = (), where: str | None = None
) -> Strip | None:
    """None where there are not two rows to compare. `sweeps`: reads of the run that went from one offset to
    another; those that pass the offsets in question are shown beside the witnesses. `where`: the partition, where
    the anomaly names one."""
    partition, focus = _focus([list(records(o)) for o in proving[:MOST_OPS]], where)
    if partition is None or not focus:
        return None
    low, high = max(0, min(focus) - AROUND), max(focus) + AROUND
    offsets = list(range(low, min(high, low + WIDEST - 1) + 1))
    passing = [o for o in sweeps if o.invoke.key == partition and o not in proving]
    lines = [
        line
        for line in _lines([*proving[:MOST_OPS], *passing], partition)
        if any(o in line.here or line.covers(o) for o in offsets)
    ]
    values = {o: {line.here[o] for line in lines if o in line.here} for o in offsets}
    disputed = {o for o in offsets if len(values[o]) > 1}
    rows = [
        Row(line.operation.invoke.index, _label(line), [_cell(line, o, o in disputed) for o in offsets])
        for line in lines[:MOST_ROWS]
    ]
    return Strip(partition, offsets, rows, sorted(focus & set(offsets))) if len(rows) > 1 else None


def _lines(operations: Sequence[Operation], partition: str) -> list[_Line]:
    lines: list[_Line] = []
    for operation in operations:
        here = {s.offset: s.value for s in records(operation) if s.partition == partition}
        went = _went(operation) if operation.invoke.key == partition else None
        few = went is None and len(here) <= FEW
        reach = [went or ((min(here), max(here) + 1) if not few else (0, 0))]
        process = str(operation.process)
        for line in lines:
            if line.operation.f == operation.f and line.few == few and line.agrees(here):
                line.here.update(here)
                line.reach += reach
                line.processes.add(process)
                break
        else:
            lines.append(_Line(operation, few, dict(here), reach, {process}))
    return lines


def _label(line: _Line) -> str:
    """With its process, unless several share the row."""
    return f"{line.operation.f} p{line.operation.process}" if len(line.processes) == 1 else line.operation.f


def _cell(line: _Line, offset: int, disputed: bool) -> Cell:
    if offset in line.here:
        return Cell(line.here[offset], differs=disputed)
    return Cell(None, absent=line.covers(offset))


def records(operation: Operation) -> Iterator[Seen]:
    """Every record that the operation's completion (or, open or failed, its invocation) names."""
    invoke, completion = operation.invoke, operation.completion
    if completion is not None and completion.value is not None:
        yield from _triples(completion.value, 0)
    extra = completion.extra if completion is not None else {}
    offset = extra.get("offset")
    if isinstance(invoke.key, str) and isinstance(offset, int) and not isinstance(offset, bool):
        yield Seen(invoke.key, offset, brief(operation.value))


def _triples(value: Any, depth: int) -> Iterator[Seen]:
    if isinstance(value, Mapping) and depth < 4:
        for inner in value.values():
            yield from _triples(inner, depth + 1)
    elif isinstance(value, list):
        match value:
            case [str(partition), int(offset), str() | int() | float() as payload]:
                yield Seen(partition, offset, brief(payload))
            case _ if depth < 4:
                for inner in value:
                    yield from _triples(inner, depth + 1)


def _went(operation: Operation) -> tuple[int, int] | None:
    """The offsets that a read went over, where it says so."""
    extra = {**operation.invoke.extra, **(operation.completion.extra if operation.completion else {})}
    start, end = extra.get("from"), extra.get("next")
    return (start, end) if isinstance(start, int) and isinstance(end, int) else None


def _focus(found: Sequence[Sequence[Seen]], where: str | None) -> tuple[str | None, set[int]]:
    """The partition and offsets in question: those of the operations that are about few records, and those
    at which two operations disagree."""
    about = [s for records in found if len(records) <= FEW for s in records]
    values: dict[tuple[str, int], set[str]] = {}
    for records in found:
        for s in records:
            values.setdefault((s.partition, s.offset), set()).add(s.value)
    disputed = [key for key, different in values.items() if len(different) > 1]
    candidates = [p for p, _ in disputed] + [s.partition for s in about]
    if not candidates:
        return None, set()
    partition = where if where in candidates else candidates[0]
    offsets = {o for p, o in disputed if p == partition} | {
        s.offset for s in about if s.partition == partition
    }
    first = min(offsets)
    return partition, {o for o in offsets if o < first + WIDEST - 2 * AROUND}
