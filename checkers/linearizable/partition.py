"""One history of many keys as one history a key: linearizable is what is linearizable key by key (Herlihy and Wing
1990, P-compositionality).

The key of an operation is its `key`. A history without keys in which every value is a pair, as Jepsen's
`independent` writes them, has its keys there: `[k v]`, for compare-and-set `[k [old new]]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkers.linearizable.models import Call, Model, micro_operations
from harness.columns import FAIL, INFO, OK, OPEN, Columns, Ints, Table

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Calls:
    """The operations that a model knows, as columns; `row` is the place in the history's columns. `asked` and
    `answered` are places in `values`, `key` in `keys`. Failed operations are kept apart by `outcome`."""

    f: Ints
    key: Ints
    asked: Ints
    answered: Ints
    start: Ints
    end: Ints
    outcome: Ints
    row: Ints
    fs: tuple[str, ...]
    """Names as the model has them."""
    keys: tuple[Any, ...]
    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.f)

    def of(self, rows: Ints | Mask) -> Calls:
        """Some of them (places in these columns, or a mask)."""
        return Calls(
            self.f[rows],
            self.key[rows],
            self.asked[rows],
            self.answered[rows],
            self.start[rows],
            self.end[rows],
            self.outcome[rows],
            self.row[rows],
            self.fs,
            self.keys,
            self.values,
        )


def calls_of(columns: Columns, model: Model) -> tuple[Calls, int]:
    """And how many operations the model does not know."""
    names = sorted(set(model.functions.values()))
    place = np.array([_place(name, model, names) for name in columns.fs] or [-1], dtype=np.int64)
    f = place[columns.f] if len(columns) else columns.f
    known = f >= 0
    rows = np.flatnonzero(known)
    calls = Calls(
        f=f[rows],
        key=columns.key[rows],
        asked=columns.asked[rows],
        answered=columns.answered[rows],
        start=columns.start[rows],
        end=columns.end[rows],
        outcome=columns.outcome[rows],
        row=rows,
        fs=tuple(names),
        keys=columns.keys,
        values=columns.values,
    )
    if not model.keyed:
        return _by_connected_registers(calls), len(columns) - len(rows)
    if _in_tuples(calls):
        calls = _untupled(calls)
    return calls, len(columns) - len(rows)


def _place(name: str, model: Model, names: list[str]) -> int:
    known = model.functions.get(name.lstrip(":"))
    return -1 if known is None else names.index(known)


def _in_tuples(calls: Calls) -> bool:
    """No operation has a key, and every value is a pair (of a compare-and-set, a pair whose second is a pair)."""
    if not len(calls) or any(calls.keys[k] is not None for k in np.unique(calls.key)):
        return False
    pair = np.array([isinstance(v, tuple) and len(v) == 2 for v in calls.values], dtype=bool)
    pairs = pair[calls.asked] & pair[calls.answered]
    if not pairs.all():
        return False
    if "cas" not in calls.fs:
        return True
    nested = np.array(
        [
            bool(p) and isinstance(v[1], tuple) and len(v[1]) == 2
            for v, p in zip(calls.values, pair, strict=True)
        ],
        dtype=bool,
    )
    cas = calls.f == calls.fs.index("cas")
    return bool(nested[calls.asked[cas]].all())


def _untupled(calls: Calls) -> Calls:
    keys, values = Table(), Table()
    used = np.unique(np.concatenate((calls.asked, calls.answered)))
    key = np.zeros(len(calls.values), dtype=np.int64)
    value = np.zeros(len(calls.values), dtype=np.int64)
    key[used] = keys.codes([calls.values[n][0] for n in used])
    value[used] = values.codes([calls.values[n][1] for n in used])
    return Calls(
        f=calls.f,
        key=key[calls.asked],
        asked=value[calls.asked],
        answered=value[calls.answered],
        start=calls.start,
        end=calls.end,
        outcome=calls.outcome,
        row=calls.row,
        fs=calls.fs,
        keys=tuple(keys.things),
        values=tuple(values.things),
    )


def _by_connected_registers(calls: Calls) -> Calls:
    """Registers that no transaction ever touches together are independent of each other."""
    parent: dict[Any, Any] = {}

    def root(register: Any) -> Any:
        while parent.setdefault(register, register) != register:
            parent[register] = register = parent[parent[register]]
        return register

    touched = [[k for _, k, _ in micro_operations(calls.values[asked])] for asked in calls.asked]
    for registers in touched:
        for register in registers[1:]:
            parent[root(register)] = root(registers[0])
    keys = Table()
    code = [keys.code(root(registers[0]) if registers else None) for registers in touched]
    return Calls(
        f=calls.f,
        key=np.array(code, dtype=np.int64),
        asked=calls.asked,
        answered=calls.answered,
        start=calls.start,
        end=calls.end,
        outcome=calls.outcome,
        row=calls.row,
        fs=calls.fs,
        keys=tuple(keys.things),
        values=calls.values,
    )


def objects(calls: Calls, columns: Columns) -> list[Call]:
    """As a model takes them, without those that failed."""
    kept = [n for n in range(len(calls)) if calls.outcome[n] != FAIL]
    return [
        Call(
            f=calls.fs[calls.f[n]],
            asked=calls.values[calls.asked[n]],
            answered=None if calls.outcome[n] == INFO else calls.values[calls.answered[n]],
            start=int(calls.start[n]),
            end=int(calls.end[n]),
            certain=bool(calls.outcome[n] != INFO),
            process=columns.processes[columns.process[calls.row[n]]],
            row=int(calls.row[n]),
        )
        for n in kept
    ]


def until(calls: Calls, place: int) -> Calls:
    """The first events only, up to and with the one at `place`: what has not ended by then is open. What fails later
    never happened here either."""
    seen = calls.of(calls.start <= place)
    cut = seen.end > place
    return Calls(
        seen.f,
        seen.key,
        seen.asked,
        seen.answered,
        seen.start,
        np.where(cut, OPEN, seen.end),
        np.where(cut & (seen.outcome == OK), INFO, seen.outcome),
        seen.row,
        seen.fs,
        seen.keys,
        seen.values,
    )


def by_key(calls: Calls, wanted: Ints) -> Iterator[tuple[int, Calls]]:
    """The calls of each key of `wanted`, in that order."""
    order = np.argsort(calls.key, kind="stable")
    ordered = calls.key[order]
    for key in wanted:
        low, high = np.searchsorted(ordered, [key, key + 1])
        yield int(key), calls.of(order[low:high])
