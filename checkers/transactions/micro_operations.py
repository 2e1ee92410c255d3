"""Transactions as columns: what each read and wrote, in arrays, however the history was stored.

A transaction is a list of micro-operations: `["append", k, v]`, `["w", k, v]` or `["r", k, seen]`; of a log
`["send", k, v]` and, for each record, `["poll", k, v]`. What a transaction that did not end in `ok` claims to have
read is not evidence and is left out, except of a log: what a consumer was given it was given, whatever became of the
transaction around it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from harness.errors import UserError
from harness.ops import Process

Model = Literal["list-append", "rw-register", "kafka"]
WRITES: Final[dict[Model, str]] = {"list-append": "append", "rw-register": "w", "kafka": "send"}
READS: Final[dict[Model, str]] = {"list-append": "r", "rw-register": "r", "kafka": "poll"}
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

OK: Final = 0
FAIL: Final = 1
INFO: Final = 2
WRITE: Final = 0
READ: Final = 1
NEVER: Final = np.iinfo(np.int64).max
"""The position of an end that is not known."""
INTERNED: Final = -(1 << 63)
"""Codes from here to NIL stand for `others[code - INTERNED]`; every greater whole number stands for itself."""
NIL: Final = INTERNED + (1 << 40)
"""What a register read before anybody wrote it."""


MOST_VALUES: Final = 12
"""Elements of a list that are told."""


@dataclass(frozen=True, slots=True)
class Transactions:
    """`first[t]` to `first[t] + count[t]` are the micro-operations of transaction `t`, in order. Transactions are
    numbered by invocation; `invoked` and `completed` are positions in the history (`completed` is NEVER where the
    end is unknown)."""

    process: Ints
    outcome: Bytes
    invoked: Ints
    completed: Ints
    invoke_index: Ints
    complete_index: Ints
    invoke_time: Ints
    complete_time: Ints
    first: Ints
    count: Ints
    txn: Ints
    kind: Bytes
    key: Ints
    value: Ints
    """Of a write, or of a register that was read."""
    start: Ints
    """Where the list that was read begins in `elements`."""
    length: Ints
    elements: Ints
    keys: Sequence[Any]
    others: Sequence[Any]
    processes: Sequence[Process]
    """What `process` counts, by its name in the history."""
    where: Callable[[int], str]
    """A position in the history, in words for the user's mistakes."""

    def __len__(self) -> int:
        return len(self.process)

    def plain_value(self, code: int) -> Any:
        if code == NIL:
            return None
        return self.others[code - INTERNED] if code < NIL else int(code)

    def seen(self, op: int) -> list[Any]:
        """The list that micro-operation `op` read."""
        start = int(self.start[op])
        return [self.plain_value(int(c)) for c in self.elements[start : start + int(self.length[op])]]

    def micro_operations(self, txn: int) -> range:
        first = int(self.first[txn])
        return range(first, first + int(self.count[txn]))

    def name(self, txn: int) -> str:
        """`T` and the history index where its outcome stands."""
        index = int(self.complete_index[txn])
        return f"T{index if index >= 0 else int(self.invoke_index[txn])}"

    def plain(self, txn: int, model: Model) -> list[tuple[str, Any, Any]]:
        """The micro-operations as they stood in the history."""
        written, read = WRITES[model], READS[model]
        told: list[tuple[str, Any, Any]] = []
        for op in self.micro_operations(txn):
            key = self.keys[int(self.key[op])]
            if self.kind[op] == WRITE:
                told.append((written, key, self.plain_value(int(self.value[op]))))
            elif model == "list-append":
                told.append((read, key, self.seen(op)))
            else:
                told.append((read, key, self.plain_value(int(self.value[op]))))
        return told


class Columns:
    """Collects events, in order, and hands out `Transactions`. `where` names a position for the user's mistakes;
    `decode` is asked for the value of an invocation if it is needed after all."""

    def __init__(
        self,
        model: Model,
        where: Callable[[int], str] = "event {}".format,
        decode: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        self._model: Model = model
        self._log = model == "kafka"
        self._decode = decode
        self._where = where
        self._process = array("q")
        self._outcome = array("q")
        self._invoked = array("q")
        self._completed = array("q")
        self._indices = array("q")
        self._complete_index = array("q")
        self._times = array("q")
        self._complete_time = array("q")
        self._first = array("q")
        self._count = array("q")
        self._kind = bytearray()
        self._key = array("q")
        self._value = array("q")
        self._start = array("q")
        self._length = array("q")
        self._elements = _Whole()
        self._keys: dict[Any, int] = {}
        self._key_names: list[Any] = []
        self._others: dict[Any, int] = {}
        self._other_names: list[Any] = []
        self._processes: dict[Process, int] = {}
        self._open: dict[Process, tuple[int, Any]] = {}
        self._retired: set[Process] = set()

    def invoke(self, position: int, process: Process, index: int, time: int, value: Any) -> None:
        """`value` is kept until the end is known."""
        if process in self._open:
            raise UserError(f"{self._where(position)}: process {process} already has a transaction open")
        if process in self._retired:
            raise UserError(f"{self._where(position)}: process {process} acts after its 'info'")
        self._open[process] = (len(self._process), value)
        self._process.append(self._processes.setdefault(process, len(self._processes)))
        self._invoked.append(position)
        self._indices.append(index)
        self._times.append(time)
        self._outcome.append(INFO)
        self._completed.append(NEVER)
        self._complete_index.append(-1)
        self._complete_time.append(-1)
        self._first.append(0)
        self._count.append(0)

    def complete(
        self, position: int, process: Process, outcome: int, index: int, time: int, value: Any
    ) -> None:
        """`value` None stands for that of the invocation."""
        started = self._open.pop(process, None)
        if started is None:
            raise UserError(
                f"{self._where(position)}: process {process} ends a transaction that it never began"
            )
        txn, asked = started
        self._outcome[txn] = outcome
        self._complete_index[txn] = index
        self._complete_time[txn] = time
        if outcome == INFO:
            self._retired.add(process)
        else:
            self._completed[txn] = position
        self._add(txn, position, self._decode(asked) if value is None else value, outcome == OK or self._log)

    def _add(self, txn: int, position: int, value: Any, reads_count: bool) -> None:
        """The micro-operations of one transaction. Raises `UserError` for what the model does not know."""
        self._first[txn] = len(self._key)
        if value is None:
            return
        if not isinstance(value, (list, tuple)):
            raise UserError(
                f"{self._where(position)}: the value of a transaction is a list of micro-operations, got {value!r}"
            )
        lists = self._model == "list-append"
        keys, read, written = self._keys, READS[self._model], WRITES[self._model]
        for micro in value:
            try:
                f, name, seen = micro
            except (TypeError, ValueError):
                raise UserError(
                    f"{self._where(position)}: a micro-operation is [f, key, value], got {micro!r}"
                ) from None
            key = keys.get(name) if type(name) is int or type(name) is str else self._key_code(name)
            if key is None:
                key = self._key_code(name)
            if f == read:
                if not reads_count:
                    continue
                if not lists:
                    self._kind.append(READ)
                    self._value.append(NIL if seen is None else self._code(seen))
                    self._start.append(0)
                    self._length.append(0)
                else:
                    self._kind.append(READ)
                    self._value.append(0)
                    self._start.append(len(self._elements))
                    if seen is None:
                        self._length.append(0)
                    elif isinstance(seen, (list, tuple)):
                        self._length.append(len(seen))
                        if not self._elements.extend(seen):
                            self._elements.extend([self._code(v) for v in seen])
                    else:
                        raise UserError(
                            f"{self._where(position)}: a read of list-append returns a list, "
                            f"got {seen!r} for key {name!r}: is this a history of --model rw-register?"
                        )
            elif f == written:
                if seen is None:
                    raise UserError(
                        f"{self._where(position)}: {f!r} of null to key {name!r}: null stands for what nobody wrote"
                    )
                self._kind.append(WRITE)
                self._value.append(self._code(seen))
                self._start.append(0)
                self._length.append(0)
            else:
                raise UserError(f"{self._where(position)}: {self._unknown(f)}")
            self._key.append(key)
        self._count[txn] = len(self._key) - self._first[txn]

    def _unknown(self, f: Any) -> str:
        known = f"{WRITES[self._model]}, {READS[self._model]}"
        other = {"append": "list-append", "w": "rw-register", "send": "kafka", "poll": "kafka"}.get(f)
        hint = f": is this a history of --model {other}?" if other else ""
        return f"unknown micro-operation {f!r} for --model {self._model} (known: {known}){hint}"

    def _key_code(self, name: Any) -> int:
        code = self._keys.setdefault(_identity(name), len(self._keys))
        if code == len(self._key_names):
            self._key_names.append(name)
        return code

    def _code(self, value: Any) -> int:
        if type(value) is int and NIL < value < -INTERNED:
            return value
        code = self._others.setdefault(_identity(value), len(self._others))
        if code == len(self._other_names):
            self._other_names.append(value)
        return INTERNED + code

    def transactions(self) -> Transactions:
        """What never ended counts as `info`. Raises `UserError` where there is no transaction at all."""
        for txn, asked in self._open.values():
            self._add(txn, self._invoked[txn], self._decode(asked), False)
        self._open.clear()
        if not self._process:
            raise UserError("the history has no transaction: no operation has 'f' \"txn\"")
        count = _column(self._count)
        first = _column(self._first)
        order = np.argsort(first, kind="stable")
        return Transactions(
            process=_column(self._process),
            outcome=_column(self._outcome).astype(np.int8),
            invoked=_column(self._invoked),
            completed=_column(self._completed),
            invoke_index=_column(self._indices),
            complete_index=_column(self._complete_index),
            invoke_time=_column(self._times),
            complete_time=_column(self._complete_time),
            first=first,
            count=count,
            txn=np.repeat(order, count[order]),
            kind=np.frombuffer(bytes(self._kind), dtype=np.int8),
            key=_column(self._key),
            value=_column(self._value),
            start=_column(self._start),
            length=_column(self._length),
            elements=self._elements.array(),
            keys=self._key_names,
            others=self._other_names,
            processes=list(self._processes),
            where=self._where,
        )


class _Whole:
    """A growing array of whole numbers that takes whole lists at once."""

    def __init__(self) -> None:
        self._array: array[int] = array("q")

    def __len__(self) -> int:
        return len(self._array)

    def extend(self, values: Sequence[Any]) -> bool:
        """False, with nothing added, where a value is no whole number of 64 bits."""
        before = len(self._array)
        try:
            self._array.extend(values)
        except (TypeError, OverflowError):
            del self._array[before:]
            return False
        return True

    def array(self) -> Ints:
        return _column(self._array)


def named_key(name: Any) -> str:
    """A key as it is told: `x`, `key 7`."""
    return name if isinstance(name, str) and name.isidentifier() else f"key {name!r}"


def shown(seen: Sequence[Any]) -> str:
    """A list as it is told: of a long one the end, which is what matters."""
    if len(seen) <= MOST_VALUES:
        return repr(list(seen))
    return f"[… {len(seen) - MOST_VALUES} more, " + repr(list(seen[-MOST_VALUES:]))[1:]


def _column(numbers: array[int]) -> Ints:
    return np.frombuffer(numbers, dtype=np.int64) if numbers else np.zeros(0, dtype=np.int64)


def _identity(value: Any) -> Any:
    """Values of different kinds stay different in a dictionary, also 1, 1.0 and true."""
    if type(value) is int or type(value) is str:
        return value
    return msgspec.json.encode(value, order="deterministic")
