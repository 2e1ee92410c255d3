"""From a stored history to columns: from `History`, or straight from the file without an object an event.

A file of a million transactions has gigabytes of objects in it and a few hundred megabytes of numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from checkers.transactions.micro_operations import FAIL, INFO, OK, Columns, Model, Transactions
from harness.errors import UserError
from harness.history import History
from harness.ops import NEMESIS, OpType, Process

TRANSACTION: Final = "txn"
OUTCOMES: Final = {"ok": OK, "fail": FAIL, "info": INFO}


def from_history(history: History, model: Model) -> Transactions:
    """Raises `UserError` naming the event (its index) that the model does not fit."""
    ops = history.ops
    columns = Columns(model, lambda position: f"operation with index {ops[position].index}")
    for position, op in enumerate(ops):
        if op.f != TRANSACTION or op.process == NEMESIS:
            continue
        if op.type == "invoke":
            columns.invoke(position, op.process, op.index, op.time, op.value)
        else:
            columns.complete(position, op.process, OUTCOMES[op.type], op.index, op.time, op.value)
    return columns.transactions()


class _Line(msgspec.Struct):
    """The fields of an event that matter here; the value is decoded only where it is evidence."""

    index: int
    time: int
    process: Process
    type: OpType
    f: str
    value: msgspec.Raw = msgspec.Raw(b"null")


_lines = msgspec.json.Decoder(_Line)
_usual: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    list[tuple[str, int | str, int | list[int] | None]] | None
)


def from_file(path: Path, model: Model) -> Transactions:
    """`history.jsonl`. Raises `UserError` naming the line. A torn last line is left out."""
    columns = Columns(model, lambda position: f"{path}: line {position + 1}")
    with path.open("rb") as file:
        for position, line in enumerate(file):
            if line.isspace() or not line.endswith(b"\n"):
                continue
            try:
                event = _lines.decode(line)
            except (msgspec.DecodeError, RecursionError) as error:
                raise UserError(f"{path}: line {position + 1}: {error}") from None
            if event.f != TRANSACTION or event.process == NEMESIS:
                continue
            if event.type == "invoke":
                columns.invoke(position, event.process, event.index, event.time, bytes(event.value))
            elif event.type == "ok":
                columns.complete(position, event.process, OK, event.index, event.time, _value(event.value))
            else:
                value = _value(event.value)
                columns.complete(
                    position, event.process, OUTCOMES[event.type], event.index, event.time, value
                )
    return columns.transactions()


def _value(raw: msgspec.Raw | bytes) -> Any:
    try:
        return _usual.decode(raw)
    except msgspec.ValidationError:
        return msgspec.json.decode(raw)
