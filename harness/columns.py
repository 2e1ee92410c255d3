"""A history as columns: one row a client operation, in order of invocation, for judges of millions of operations.

Names, keys and values are numbers here, indices into tables; a row's `start` and `end` are places in the recorded
order of events, which is the real-time order (two events at the same nanosecond still have an order).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
_TYPES: Final = {"invoke": _INVOKE, "ok": OK, "fail": FAIL, "info": INFO}
_CHUNK: Final = 1 << 24


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


def read_columns(path: Path) -> tuple[Columns, list[Op]]:
    """Client operations and fault events of a `history.jsonl`, read in pieces: memory grows with the operations,
    not with the file.

    A torn last line is left out. Raises `UserError` with file and line for anything else that is wrong.
    """
    events = _Events()
    decoder = msgspec.json.Decoder(_Line)
    try:
        with path.open("rb") as file:
            for lines in _whole_lines(file):
                events.add(decoder.decode_lines(lines))
        columns = events.columns()
        events.verify()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _Suspicious):
        # The slow reader knows the line and the words for what is wrong with it.
        history = read_history(path)
        return columns_of(history), history.faults
    return columns, events.faults


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while piece := file.read(_CHUNK):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece


class _Suspicious(Exception):
    """Something is out of order."""


class Table:
    """Gives equal things the same number, in order of appearance."""

    def __init__(self) -> None:
        self._codes: dict[Any, int] = {}
        self.things: list[Any] = []

    def code(self, thing: Any) -> int:
        frozen = freeze(thing)
        name = (bool, frozen) if isinstance(frozen, bool) else frozen
        found = self._codes.get(name)
        if found is None:
            found = self._codes[name] = len(self.things)
            self.things.append(frozen)
        return found

    def codes(self, things: Sequence[Any]) -> list[int]:
        known = self._codes
        plain = (int, str)
        return [
            known[thing] if thing.__class__ in plain and thing in known else self.code(thing)
            for thing in things
        ]


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

    def add(self, events: Iterable[Event]) -> None:
        clients: list[Event] = []
        for event in events:
            if event.process == NEMESIS:
                self.faults.append(event if isinstance(event, Op) else _op(event))
            else:
                clients.append(event)
        columns: tuple[list[int], ...] = (
            [_TYPES[e.type] for e in clients],
            self._fs.codes([e.f for e in clients]),
            self._keys.codes([e.key for e in clients]),
            self._processes.codes([e.process for e in clients]),
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
