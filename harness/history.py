"""The record of a run: every operation and every fault, in order, one JSON object a line.

Written as it happens, each line in one `write` to the operating system, so that killing the harness
loses nothing that was written. What is read back is checked line by line.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UserError
from harness.ops import NEMESIS, Op, Operation, OpType, Process

if TYPE_CHECKING:
    from harness.columns import Columns

_FIELDS = frozenset({"index", "time", "process", "type", "f", "key", "value", "error"})
_TYPES = frozenset({"invoke", "ok", "fail", "info"})


def to_json(op: Op) -> dict[str, Any]:
    """The line's object: absent fields are left out, extra fields stand beside the others."""
    line: dict[str, Any] = {
        "index": op.index,
        "time": op.time,
        "process": op.process,
        "type": op.type,
        "f": op.f,
    }
    if op.key is not None:
        line["key"] = op.key
    if op.value is not None:
        line["value"] = op.value
    if op.error is not None:
        line["error"] = op.error
    line.update(op.extra)
    return line


class HistoryWriter:
    """Appends events, gives them their index, and keeps them for the judges.

    `path` None keeps them in memory only. Raises OSError (disk full) at the failing event; what was
    written before stays, and the torn line is removed.
    """

    def __init__(self, path: Path | None, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._encoder = msgspec.json.Encoder()
        self.ops: list[Op] = []
        self._path = path
        self._file = (
            None
            if path is None
            else os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o644)
        )
        self._size = 0

    def append(
        self,
        process: Process,
        type: OpType,
        f: str,
        *,
        key: Any = None,
        value: Any = None,
        error: Any = None,
        extra: dict[str, Any] | None = None,
    ) -> Op:
        op = Op(
            index=len(self.ops),
            time=self._now_ns(),
            process=process,
            type=type,
            f=f,
            key=key,
            value=value,
            error=error,
            extra=extra or {},
        )
        line = self._encoder.encode(to_json(op)) + b"\n"
        if self._file is not None:
            self._write(line)
        self.ops.append(op)
        return op

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(28, "No space left on device")
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def history(self) -> History:
        return History(self.ops)


class History:
    """Events in order. `warnings` says what could not be read or was mended."""

    def __init__(self, ops: Iterable[Op], warnings: Iterable[str] = ()) -> None:
        self._given = list(ops)
        self.warnings: tuple[str, ...] = tuple(warnings)

    @cached_property
    def ops(self) -> list[Op]:
        return self._given

    def __len__(self) -> int:
        return len(self.ops)

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    @cached_property
    def operations(self) -> list[Operation]:
        """Client operations in order of invocation, each with its completion."""
        completions: dict[int, Op] = {}
        open_ops: dict[Process, Op] = {}
        invokes: list[Op] = []
        for op in self.ops:
            if op.process == NEMESIS:
                continue
            if op.type == "invoke":
                open_ops[op.process] = op
                invokes.append(op)
            else:
                started = open_ops.pop(op.process, None)
                if started is not None:
                    completions[started.index] = op
        return [Operation(op, completions.get(op.index)) for op in invokes]

    @cached_property
    def tally(self) -> Counter[tuple[str, str]]:
        """How many client operations of each kind had each outcome."""
        return Counter((operation.f, operation.outcome) for operation in self.operations)

    @cached_property
    def columns(self) -> Columns:
        """The same as arrays."""
        from harness.columns import columns_of

        return columns_of(self)

    @cached_property
    def faults(self) -> list[Op]:
        return [op for op in self.ops if op.process == NEMESIS]

    @property
    def end_ns(self) -> int:
        return self.ops[-1].time if self.ops else 0


def parse_line(line: bytes, number: int) -> Op:
    """One line of `history.jsonl`. Raises `UserError` naming the line and what is wrong with it."""
    try:
        data = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise UserError(f"line {number}: not JSON ({error})") from None
    except RecursionError:
        raise UserError(f"line {number}: nested too deeply") from None
    if not isinstance(data, dict):
        raise UserError(f"line {number}: expected an object, got {type(data).__name__}")
    missing = [k for k in ("index", "time", "process", "type", "f") if k not in data]
    if missing:
        raise UserError(f"line {number}: field '{missing[0]}' is missing")
    if data["type"] not in _TYPES:
        raise UserError(f"line {number}: unknown type '{data['type']}': known: invoke, ok, fail, info")
    for name in ("index", "time"):
        if not isinstance(data[name], int) or isinstance(data[name], bool):
            raise UserError(f"line {number}: '{name}' must be a whole number, got {data[name]!r}")
    if not isinstance(data["process"], (int, str)):
        raise UserError(f"line {number}: 'process' must be a number or a name, got {data['process']!r}")
    extra = {k: v for k, v in data.items() if k not in _FIELDS}
    return Op(
        index=data["index"],
        time=data["time"],
        process=data["process"],
        type=data["type"],
        f=str(data["f"]),
        key=data.get("key"),
        value=data.get("value"),
        error=data.get("error"),
        extra=extra,
    )


def read_history(path: Path) -> History:
    """Reads `history.jsonl`. A torn last line is a warning, not an error: what can be read is read.

    Raises `UserError` with file and line for anything else that is wrong: not JSON, a missing field, an
    unknown type, an index out of order, a process with two open operations or acting after an `info`.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    lines = raw.split(b"\n")
    torn = lines.pop() if lines else b""
    warnings: list[str] = []
    ops: list[Op] = []
    open_ops: dict[Process, Op] = {}
    retired: set[Process] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            op = parse_line(line, number)
            _check_order(op, ops, open_ops, retired, number)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        ops.append(op)
    if torn.strip():
        warnings.append(f"line {len(lines) + 1} is torn ({len(torn)} bytes) and was left out")
    return History(ops, warnings)


def _check_order(
    op: Op, ops: list[Op], open_ops: dict[Process, Op], retired: set[Process], number: int
) -> None:
    if ops and op.index <= ops[-1].index:
        raise UserError(f"line {number}: index {op.index} does not follow {ops[-1].index}")
    if ops and op.time < ops[-1].time:
        raise UserError(f"line {number}: time {op.time} is before that of the line above ({ops[-1].time})")
    if op.process == NEMESIS:
        return
    if op.type == "invoke":
        if op.process in retired:
            raise UserError(f"line {number}: process {op.process} acts after its 'info'")
        if op.process in open_ops:
            other = open_ops[op.process]
            raise UserError(f"line {number}: process {op.process} already has operation {other.index} open")
        open_ops[op.process] = op
        return
    if op.process not in open_ops:
        raise UserError(f"line {number}: '{op.type}' of process {op.process}, which has no open operation")
    del open_ops[op.process]
    if op.type == "info":
        retired.add(op.process)
