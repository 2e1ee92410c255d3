"""Pictures whose material a checker gives with an anomaly (`Anomaly.data`): which replica had the record, and what
became of an input. What has not the expected shape is no picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

MOST_COLUMNS = 8

Shape = TypeVar("Shape")


class _Told(msgspec.Struct):
    time: int
    what: str
    has: bool | None
    epoch: int | None = None
    end: int | None = None
    was: int | None = None
    parted: int | None = None


class _Replica(msgspec.Struct):
    node: str
    told: list[_Told]


class _Replicas(msgspec.Struct):
    partition: str
    offset: int
    rows: list[_Replica]


class _Transaction(msgspec.Struct):
    txn: str
    fate: str
    outputs: list[tuple[str, int]]
    process: int | str | None = None
    op: int | None = None
    time: int | None = None


class _Inputs(msgspec.Struct):
    partition: str
    offset: int
    value: str
    transactions: list[_Transaction]


class ReplicaCell(msgspec.Struct, frozen=True):
    """`state` is `has`, `lacks`, `removed`, or empty where nothing was said."""

    text: str
    state: str


class ReplicaRow(msgspec.Struct, frozen=True):
    node: str
    cells: list[ReplicaCell]


class ReplicaPicture(msgspec.Struct, frozen=True):
    """Columns are the times (microseconds) at which a replica said something of its log's end."""

    partition: str
    offset: int
    times: list[int]
    rows: list[ReplicaRow]


class InputRow(msgspec.Struct, frozen=True):
    txn: str
    process: str
    op: int | None
    time: int | None
    fate: str
    outputs: list[str]


class InputPicture(msgspec.Struct, frozen=True):
    partition: str
    offset: int
    value: str
    rows: list[InputRow]
    count: int
    """Committed outputs."""


def replica_picture(data: Any) -> ReplicaPicture | None:
    """None where fewer than two replicas' logs were spoken of, or too many times to show."""
    found = _converted(data, "replicas", _Replicas)
    if found is None:
        return None
    times = sorted({told.time for row in found.rows for told in row.told})
    if not 1 < len(times) <= MOST_COLUMNS:
        return None
    rows = [ReplicaRow(row.node, [_cell(row.told, time) for time in times]) for row in found.rows]
    return ReplicaPicture(found.partition, found.offset, [time // 1_000 for time in times], rows)


def _cell(told: list[_Told], time: int) -> ReplicaCell:
    here = next((t for t in told if t.time == time), None)
    if here is None:
        return ReplicaCell("", "")
    match here.what:
        case "held":
            return ReplicaCell("has it", "has")
        case "elected":
            log = f"ends at {here.end}" if here.parted is None else f"is another one from {here.parted} on"
            return ReplicaCell(
                f"leads epoch {here.epoch}, its log {log}", "lacks" if here.has is False else ""
            )
        case _:
            return ReplicaCell(f"truncates {here.was} to {here.end}", "removed")


def input_picture(data: Any) -> InputPicture | None:
    found = _converted(data, "inputs", _Inputs)
    if found is None:
        return None
    rows = [
        InputRow(
            txn=t.txn,
            process="" if t.process is None else str(t.process),
            op=t.op,
            time=None if t.time is None else t.time // 1_000,
            fate=t.fate,
            outputs=[f"{partition} offset {offset}" for partition, offset in t.outputs],
        )
        for t in found.transactions
    ]
    return InputPicture(found.partition, found.offset, found.value, rows, sum(len(r.outputs) for r in rows))


def _converted(data: Any, name: str, shape: type[Shape]) -> Shape | None:
    given = data.get(name) if isinstance(data, Mapping) else None
    if given is None:
        return None
    try:
        return msgspec.convert(given, shape)
    except msgspec.ValidationError:
        return None
