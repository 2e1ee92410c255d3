"""An offset strip: what each witness saw at the offsets in question, one row an operation.

Works on the way in which log workloads write records down: `[partition, offset, value]` anywhere in an
operation's value, or a send's key, value and `offset`.
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


def strip(proving: Sequence[Operation]) -> Strip | None:
    """None where fewer than two operations speak of the same offsets."""
    seen = [(operation, list(records(operation))) for operation in proving[:24]]
    partition, focus = _focus([found for _, found in seen])
    if partition is None or not focus:
        return None
    low, high = max(0, min(focus) - AROUND), max(focus) + AROUND
    offsets = list(range(low, min(high, low + WIDEST - 1) + 1))
    rows: list[tuple[Operation, dict[int, str], tuple[int, int]]] = []
    for operation, found in seen:
        here = {s.offset: s.value for s in found if s.partition == partition}
        reach = _reach(operation, here, partition)
        if any(o in here or reach[0] <= o < reach[1] for o in offsets):
            rows.append((operation, here, reach))
    if len(rows) < 2:
        return None
    values: dict[int, set[str]] = {o: {here[o] for _, here, _ in rows if o in here} for o in offsets}
    made = [
        Row(
            operation.invoke.index,
            f"{operation.f} p{operation.process}",
            [_cell(o, here, reach, len(values[o]) > 1) for o in offsets],
        )
        for operation, here, reach in rows
    ]
    return Strip(partition, offsets, made, sorted(o for o in focus if o in offsets))


def _cell(offset: int, here: Mapping[int, str], reach: tuple[int, int], differs: bool) -> Cell:
    if offset in here:
        return Cell(here[offset], differs=differs)
    return Cell(None, absent=reach[0] <= offset < reach[1])


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


def _reach(operation: Operation, here: Mapping[int, str], partition: str) -> tuple[int, int]:
    """The offsets that a read went over: `from` to `next` where it says so, else its first to last record."""
    extra = {**operation.invoke.extra, **(operation.completion.extra if operation.completion else {})}
    start, end = extra.get("from"), extra.get("next")
    if operation.invoke.key == partition and isinstance(start, int) and isinstance(end, int):
        return start, end
    return (min(here), max(here) + 1) if len(here) > 1 else (0, 0)


def _focus(found: Sequence[Sequence[Seen]]) -> tuple[str | None, set[int]]:
    """The partition and offsets in question: those of the operations that are about few records, and those
    at which two operations disagree."""
    about = [s for records in found if len(records) <= FEW for s in records]
    values: dict[tuple[str, int], set[str]] = {}
    for records in found:
        for s in records:
            values.setdefault((s.partition, s.offset), set()).add(s.value)
    disputed = [key for key, different in values.items() if len(different) > 1]
    if disputed:
        partition = disputed[0][0]
    elif about:
        partition = about[0].partition
    else:
        return None, set()
    offsets = {o for p, o in disputed if p == partition} | {
        s.offset for s in about if s.partition == partition
    }
    first = min(offsets)
    return partition, {o for o in offsets if o < first + WIDEST - 2 * AROUND}
