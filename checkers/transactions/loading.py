"""From a stored history to columns: from `History`, or straight from the file without an object an event.

A file of a million transactions has gigabytes of objects in it and a few hundred megabytes of numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from checkers.transactions.micro_operations import FAIL, INFO, OK, Columns, Model, Transactions
from harness.errors import UserError
from harness.history import History, parse_line, read_history
from harness.ops import NEMESIS, Op, OpType, Process

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


class TransactionHistory(History):
    """A history file that is kept as the columns of its transactions; single events are read again only if somebody
    asks for them."""

    def __init__(
        self,
        path: Path,
        transactions: Transactions,
        model: Model,
        tally: Counter[tuple[str, str]],
        faults: list[Op],
        end_ns: int,
        warnings: Sequence[str],
    ) -> None:
        super().__init__((), warnings)
        self.transactions, self.model = transactions, model
        self._path, self._tally, self._faults, self._end_ns = path, tally, faults, end_ns

    @cached_property
    def ops(self) -> list[Op]:
        return read_history(self._path).ops

    @cached_property
    def tally(self) -> Counter[tuple[str, str]]:
        return self._tally

    @cached_property
    def faults(self) -> list[Op]:
        return self._faults

    @property
    def end_ns(self) -> int:
        return self._end_ns


def read_transactions(path: Path, model: Model) -> TransactionHistory:
    """`history.jsonl`, line by line: memory grows with what was read and written, not with the events.

    Raises `UserError` naming the line. A torn last line is a warning.
    """
    columns = Columns(model, lambda position: f"{path}: line {position + 1}", _value)
    events: Counter[tuple[str, str]] = Counter()
    faults: list[Op] = []
    warnings: list[str] = []
    index, time = -1, 0
    try:
        with path.open("rb") as file:
            for position, line in enumerate(file):
                if line.isspace():
                    continue
                if not line.endswith(b"\n"):
                    warnings.append(f"line {position + 1} is torn ({len(line)} bytes) and was left out")
                    break
                try:
                    event = _lines.decode(line)
                    if event.process == NEMESIS:
                        faults.append(parse_line(line, position + 1))
                        continue
                    events[event.f, event.type] += 1
                    if event.index <= index or event.time < time:
                        raise UserError(
                            f"{path}: line {position + 1}: index {event.index} at {event.time} ns follows "
                            f"{index} at {time} ns"
                        )
                    index, time = event.index, event.time
                    if event.f == TRANSACTION:
                        _add(columns, position, event)
                except (msgspec.DecodeError, RecursionError) as error:
                    raise UserError(f"{path}: line {position + 1}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    last = max([time, *(op.time for op in faults)])
    return TransactionHistory(path, columns.transactions(), model, _tally(events), faults, last, warnings)


def _add(columns: Columns, position: int, event: _Line) -> None:
    index, time = event.index, event.time
    if event.type == "invoke":
        columns.invoke(position, event.process, index, time, bytes(event.value))
    else:
        columns.complete(position, event.process, OUTCOMES[event.type], index, time, _value(event.value))


def _tally(events: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Operations by kind and outcome; what was begun and never ended counts as `info`."""
    tally: Counter[tuple[str, str]] = Counter()
    for (f, kind), count in events.items():
        if kind == "invoke":
            ended = sum(events[f, outcome] for outcome in OUTCOMES)
            tally[f, "info"] += count - ended
        else:
            tally[f, kind] += count
    return +tally


def _value(raw: msgspec.Raw | bytes) -> Any:
    try:
        return _usual.decode(raw)
    except msgspec.ValidationError:
        return msgspec.json.decode(raw)
