"""Operations as columns: what the page's list and latency plot are drawn from.

Plain lists of numbers and indices into tables of texts, so that 100,000 operations stay small and quick.
Times are microseconds since the run began; starts and indices are written as differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from harness.ops import Op, Operation

LONGEST_TEXT = 400
"""Characters of a value that the list shows; witnesses are shown in full elsewhere."""
OUTCOMES = ("ok", "fail", "info")
NEVER = -1


class Columns(msgspec.Struct):
    """One entry an operation, in order of invocation. `end` holds the duration, -1 where there is no end."""

    index: list[int] = msgspec.field(default_factory=list)
    completion: list[int] = msgspec.field(default_factory=list)
    """Distance from the invocation's index to the completion's; -1 without one."""
    start: list[int] = msgspec.field(default_factory=list)
    duration: list[int] = msgspec.field(default_factory=list)
    process: list[int] = msgspec.field(default_factory=list)
    f: list[int] = msgspec.field(default_factory=list)
    key: list[int] = msgspec.field(default_factory=list)
    outcome: list[int] = msgspec.field(default_factory=list)
    text: list[str] = msgspec.field(default_factory=list)
    processes: list[str] = msgspec.field(default_factory=list)
    fs: list[str] = msgspec.field(default_factory=list)
    keys: list[str] = msgspec.field(default_factory=list)
    outcomes: tuple[str, ...] = OUTCOMES


class _Table:
    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        found = self._places.get(text)
        if found is None:
            found = self._places[text] = len(self._texts)
            self._texts.append(text)
        return found


def columns(operations: Sequence[Operation]) -> Columns:
    made = Columns()
    processes, fs, keys = _Table(made.processes), _Table(made.fs), _Table(made.keys)
    last_index = last_start = 0
    for operation in operations:
        invoke, completion = operation.invoke, operation.completion
        start = invoke.time // 1_000
        made.index.append(invoke.index - last_index)
        made.start.append(start - last_start)
        last_index, last_start = invoke.index, start
        made.completion.append(NEVER if completion is None else completion.index - invoke.index)
        made.duration.append(NEVER if completion is None else completion.time // 1_000 - start)
        made.process.append(processes.place(str(invoke.process)))
        made.f.append(fs.place(invoke.f))
        made.key.append(keys.place("" if invoke.key is None else brief(invoke.key)))
        made.outcome.append(OUTCOMES.index(operation.outcome))
        made.text.append(summary(operation))
    return made


def summary(operation: Operation, limit: int = LONGEST_TEXT) -> str:
    """Value, error and the fields that ride along, in one line."""
    parts: list[str] = []
    if operation.value is not None:
        parts.append(as_json(operation.value))
    completion = operation.completion
    if completion is not None and completion.error is not None:
        parts.append(f"error: {_text(completion.error)}")
    extra = {**operation.invoke.extra, **(completion.extra if completion else {})}
    parts += [f"{name}={as_json(value)}" for name, value in extra.items()]
    return shorten("  ".join(parts), limit)


def details(op: Op) -> list[tuple[str, str]]:
    """Every field of one event, for a witness."""
    fields: list[tuple[str, Any]] = [("key", op.key), ("value", op.value), ("error", op.error)]
    fields += list(op.extra.items())
    return [(name, shorten(as_json(value), 4_000)) for name, value in fields if value is not None]


def brief(value: Any) -> str:
    return shorten(_text(value), 80)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def by_index(operations: Iterable[Operation]) -> dict[int, Operation]:
    """Invocation and completion index -> operation."""
    found: dict[int, Operation] = {}
    for operation in operations:
        found[operation.invoke.index] = operation
        if operation.completion is not None:
            found[operation.completion.index] = operation
    return found
