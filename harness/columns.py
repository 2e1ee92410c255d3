"""A history as columns: one row a client operation, in order of invocation, for judges of millions of operations.

Names, keys and values are numbers here, indices into tables; a row's `start` and `end` are places in the recorded
order of events, which is the real-time order (two events at the same nanosecond still have an order).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.history import History, read_history
from harness.ops import NEMESIS, Op, OpType, Process

Ints = NDArray[np.int64]
OPEN: Final = 2**40
"""The end of what may take effect at any later time: later than every place."""
OK, FAIL, INFO = 1, 2, 3
_INVOKE = 0
_OUTCOMES: Final = ("", "ok", "fail", "info")
_TYPES: Final = {"invoke": _INVOKE, "ok": OK, "fail": FAIL, "info": INFO}
_CHUNK: Final = 1 << 24
_PLAIN: Final = frozenset({int, str, float, type(None)})
"""What is its own hashable twin and equal to nothing of another kind that a history tells apart."""


@dataclass(frozen=True, slots=True)
class Columns:
    """`values` holds what stood in the history with lists as tuples and maps as sorted tuples of pairs; booleans
    are apart from the numbers that Python takes for equal."""

    f: Ints
    key: Ints
    process: Ints
    asked: Ints
    """The value of the invocation."""
    answered: Ints
    """The value of the completion where it has one, else of the invocation."""
    start: Ints
    end: Ints
    """`OPEN` unless the operation is known to have ended."""
    outcome: Ints
    """`OK`, `FAIL` or `INFO`."""
    invoke_index: Ints
    invoke_time: Ints
    complete_index: Ints
    """-1 where the history ends first."""
    complete_time: Ints
    fs: tuple[str, ...]
    keys: tuple[Any, ...]
    processes: tuple[Process, ...]
    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.f)


class Event(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def process(self) -> Process: ...
    @property
    def type(self) -> OpType: ...
    @property
    def f(self) -> str: ...
    @property
    def key(self) -> Any: ...
    @property
    def value(self) -> Any: ...


class _Line(msgspec.Struct, gc=False, frozen=True):
    index: int
    time: int
    process: Process
    type: OpType
    f: str
    key: Any = None
    value: Any = None


def columns_of(history: History) -> Columns:
    """Of a history that is in memory."""
    events = _Events()
    events.add(history.ops)
    return events.columns()


class ColumnarHistory(History):
    """A history file that is kept as columns; single events are read again only if somebody asks for them."""

    def __init__(
        self, path: Path, columns: Columns, faults: list[Op], end_ns: int, warnings: Sequence[str]
    ) -> None:
        super().__init__((), warnings)
        self._path, self._columns, self._faults, self._end_ns = path, columns, faults, end_ns

    @cached_property
    def ops(self) -> list[Op]:
        return read_history(self._path).ops

    @cached_property
    def columns(self) -> Columns:
        return self._columns

    @cached_property
    def faults(self) -> list[Op]:
        return self._faults

    @cached_property
    def tally(self) -> Counter[tuple[str, str]]:
        columns = self._columns
        kinds, counts = np.unique(columns.f * 4 + columns.outcome, return_counts=True)
        return Counter(
            {
                (columns.fs[kind // 4], _OUTCOMES[kind % 4]): int(n)
                for kind, n in zip(kinds, counts, strict=True)
            }
        )

    @property
    def end_ns(self) -> int:
        return self._end_ns


def read_columns(path: Path) -> History:
    """A `history.jsonl`, read in pieces: memory grows with the operations, not with the file.

    A torn last line is a warning. Raises `UserError` with file and line for anything else that is wrong.
    """
    events = _Events()
    decoder = msgspec.json.Decoder(_Line)
    count, warnings = 0, []
    try:
        with path.open("rb") as file:
            for lines, complete in _whole_lines(file):
                if complete:
                    events.add(decoder.decode_lines(lines))
                    count += lines.count(b"\n")
                elif lines.strip():
                    warnings.append(f"line {count + 1} is torn ({len(lines)} bytes) and was left out")
        columns = events.columns()
        events.verify()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _Suspicious):
        # The slow reader knows the line and the words for what is wrong with it.
        return read_history(path)
    return ColumnarHistory(path, columns, events.faults, events.end_ns, warnings)


def _whole_lines(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Pieces that end with a line, then what is left over without one."""
    rest = b""
    while piece := file.read(_CHUNK):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield rest + piece[:cut], True
            rest = piece[cut:]
        else:
            rest += piece
    yield rest, False


class _Suspicious(Exception):
    """Something is out of order."""


class Table:
    """Gives equal things the same number, in order of appearance."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._codes = _Codes(self.things)

    def codes(self, things: Sequence[Any]) -> list[int]:
        if _PLAIN.issuperset(map(type, things)):
            return list(map(self._codes.__getitem__, things))
        return [self.code(thing) for thing in things]

    def code(self, thing: Any) -> int:
        frozen = freeze(thing)
        if not _has_boolean(frozen):
            return self._codes[frozen]
        name = (bool, repr(frozen))
        if name not in self._codes:
            self._codes[name] = len(self.things)
            self.things.append(frozen)
        return self._codes[name]


def _has_boolean(frozen: Any) -> bool:
    if isinstance(frozen, tuple):
        return any(map(_has_boolean, frozen))
    return isinstance(frozen, bool)


class _Codes(dict[Any, int]):
    """What is looked up and not there gets the next number."""

    def __init__(self, things: list[Any]) -> None:
        super().__init__()
        self._things = things

    def __missing__(self, thing: Any) -> int:
        code = self[thing] = len(self._things)
        self._things.append(thing)
        return code


def freeze(thing: Any) -> Any:
    """A hashable twin: lists become tuples, maps and sets sorted tuples."""
    if isinstance(thing, list | tuple):
        return tuple(freeze(part) for part in thing)
    if isinstance(thing, dict):
        return tuple(sorted(((freeze(k), freeze(v)) for k, v in thing.items()), key=repr))
    if isinstance(thing, set | frozenset):
        return tuple(sorted((freeze(part) for part in thing), key=repr))
    return thing


class _Events:
    """Collects events and pairs invocations with completions."""

    def __init__(self) -> None:
        self._fs, self._keys, self._processes, self._values = Table(), Table(), Table(), Table()
        self._parts: list[tuple[Ints, ...]] = []
        self.faults: list[Op] = []
        self.end_ns = 0

    def add(self, events: Sequence[Event]) -> None:
        if events:
            self.end_ns = events[-1].time
        clients, processes = events, [event.process for event in events]
        if NEMESIS in processes:
            self.faults += [e if isinstance(e, Op) else _op(e) for e in events if e.process == NEMESIS]
            clients = [event for event in events if event.process != NEMESIS]
            processes = [event.process for event in clients]
        columns: tuple[list[int], ...] = (
            [_TYPES[e.type] for e in clients],
            self._fs.codes([e.f for e in clients]),
            self._keys.codes([e.key for e in clients]),
            self._processes.codes(processes),
            self._values.codes([e.value for e in clients]),
            [e.index for e in clients],
            [e.time for e in clients],
        )
        self._parts.append(tuple(np.array(column, dtype=np.int64) for column in columns))

    def _joined(self) -> list[Ints]:
        if len(self._parts) != 1:
            empty = np.zeros(0, dtype=np.int64)
            joined = [
                np.concatenate([part[n] for part in self._parts]) if self._parts else empty for n in range(7)
            ]
            self._parts = [tuple(joined)]
        return list(self._parts[0])

    def columns(self) -> Columns:
        kind, f, key, process, value, index, time = self._joined()
        nothing = self._values.code(None)
        order = np.argsort(process, kind="stable")
        invokes = order[kind[order] == _INVOKE]
        after = np.full(len(kind) + 1, -1, dtype=np.int64)
        same = process[order[1:]] == process[order[:-1]]
        after[order[:-1][same]] = order[1:][same]
        follower = after[invokes]
        closed = (follower >= 0) & (kind[follower] != _INVOKE)
        completion = np.where(closed, follower, -1)
        by_start = np.argsort(invokes, kind="stable")
        invokes, completion = invokes[by_start], completion[by_start]
        has = completion >= 0
        outcome = np.where(has, kind[completion], INFO)
        answer = np.where(has, value[completion], nothing)
        return Columns(
            f=f[invokes],
            key=key[invokes],
            process=process[invokes],
            asked=value[invokes],
            answered=np.where(answer == nothing, value[invokes], answer),
            start=invokes,
            end=np.where(outcome == INFO, OPEN, completion),
            outcome=outcome,
            invoke_index=index[invokes],
            invoke_time=time[invokes],
            complete_index=np.where(has, index[completion], -1),
            complete_time=np.where(has, time[completion], -1),
            fs=tuple(self._fs.things),
            keys=tuple(self._keys.things),
            processes=tuple(self._processes.things),
            values=tuple(self._values.things),
        )

    def verify(self) -> None:
        """Raises `_Suspicious` where the line-by-line reader would refuse."""
        kind, _, _, process, _, index, time = self._joined()
        if len(kind) < 2:
            return
        order = np.argsort(process, kind="stable")
        same = process[order[1:]] == process[order[:-1]]
        before, now = kind[order[:-1]][same], kind[order[1:]][same]
        firsts = np.concatenate(([True], ~same))
        refused = (
            ((now == _INVOKE) & ((before == _INVOKE) | (before == INFO))).any()
            or ((now != _INVOKE) & (before != _INVOKE)).any()
            or (kind[order][firsts] != _INVOKE).any()
            or (np.diff(index) <= 0).any()
            or (np.diff(time) < 0).any()
        )
        if refused:
            raise _Suspicious


def _op(event: Event) -> Op:
    return Op(
        index=event.index,
        time=event.time,
        process=event.process,
        type=event.type,
        f=event.f,
        key=event.key,
        value=event.value,
    )
