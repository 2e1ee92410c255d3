"""What a history says about partitions, in columns: who wrote what, who read what where, and what the
final read found.

Reads the operations of the log workloads: `send`, `poll`, `end-offset`, `final-read`, and of `transfer` its inputs
(as reads) and outputs (as writes), and of `txn` its sends and polls. Operations of other kinds are left alone. A partition is whatever its key is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UserError
from harness.history import History
from harness.ops import Op, Operation

Value = Any
"""Strings and whole numbers as they are; anything else as (`json`, its text), so that it can be looked up."""


@dataclass(slots=True)
class Writes:
    """Columns. `operation` is a position in `History.operations`; `offset` the acknowledged one, where known;
    `transactional` is true for the outputs of a transfer."""

    value: list[Value] = field(default_factory=list)
    operation: list[int] = field(default_factory=list)
    outcome: list[str] = field(default_factory=list)
    offset: list[int | None] = field(default_factory=list)
    transactional: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class Reads:
    """Columns; one row a record read, in order of completion."""

    offset: list[int] = field(default_factory=list)
    value: list[Value] = field(default_factory=list)
    operation: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Final:
    """A chain of final reads that joined from the beginning to the end offset asked for beforehand."""

    values: dict[int, Value]
    """By offset, ascending."""
    operations: tuple[int, ...]
    end: int
    high_watermark: int
    log_start: int = 0
    """The log's beginning when the last of them was through: what lies below was removed on purpose."""

    @property
    def hidden(self) -> bool:
        """Open transactions keep the last stable offset below the high watermark."""
        return self.end < self.high_watermark

    def operation_at(self, seen: Observations, offset: int | None) -> int:
        """The one (position) that read over the offset; the last one where none did, or it is not known."""
        for position in self.operations:
            completion = seen.operations[position].completion
            if completion is None or offset is None:
                continue
            if int(completion.extra["from"]) <= offset < int(completion.extra["next"]):
                return position
        return self.operations[-1]


@dataclass(slots=True)
class Partition:
    """Everything that concerns one partition."""

    name: str
    writes: Writes = field(default_factory=Writes)
    reads: Reads = field(default_factory=Reads)
    final: Final | None = None
    final_progress: tuple[int, int] | None = None
    """(reached offset, end offset) of the longest final read that did not arrive."""
    ends: list[tuple[int, int, bool]] = field(default_factory=list)
    """(operation, end offset, asked after the heal)."""
    log_start: int = 0
    """The highest log start that a final read was told of (rule 7, semantics 1c)."""
    begins: list[tuple[int, int]] = field(default_factory=list)
    """(operation, log start that it was told of)."""
    writers: dict[Value, list[int]] = field(default_factory=dict)
    """Value -> rows of `writes`."""


@dataclass(slots=True)
class Poll:
    """One consumer poll with records or a new assignment: continuity is judged over these."""

    operation: int
    assigned: list[tuple[str, int]] | None
    records: list[tuple[str, int, Value]]


@dataclass(slots=True)
class Observations:
    history: History
    operations: list[Operation]
    partitions: dict[str, Partition] = field(default_factory=dict)
    polls: list[Poll] = field(default_factory=list)
    proven_transfers: set[int] = field(default_factory=set)
    """Operations whose outcome is unknown but of whose outputs one was read at read_committed."""
    isolation: str = "read_committed"

    def partition(self, name: str) -> Partition:
        found = self.partitions.get(name)
        if found is None:
            found = self.partitions[name] = Partition(name)
        return found

    def index(self, position: int) -> int:
        """History index of an operation's invocation."""
        return self.operations[position].invoke.index

    def done(self, position: int) -> int:
        """History index of its completion; the end of the history where there is none."""
        completion = self.operations[position].completion
        return len(self.history.ops) if completion is None else completion.index

    def indices(self, position: int) -> tuple[int, ...]:
        """History indices of both its events."""
        operation = self.operations[position]
        if operation.completion is None:
            return (operation.invoke.index,)
        return (operation.invoke.index, operation.completion.index)


def observe(history: History, isolation: str = "read_committed") -> Observations:
    """`isolation` is that of a history whose reads do not tell theirs. Raises `UserError` naming the operation whose value has not the shape that its `f` has."""
    seen = Observations(history, history.operations, isolation=isolation)
    chains: dict[tuple[Any, str], _Chain] = {}
    for position, operation in enumerate(seen.operations):
        try:
            _observe(seen, chains, position, operation)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise UserError(
                f"operation {operation.invoke.index} ({operation.f}) has not the shape of one: "
                f"{type(error).__name__}: {error}"
            ) from error
    if seen.isolation == "read_committed":
        _prove_transfers(seen)
    return seen


def _prove_transfers(seen: Observations) -> None:
    """Rule 2 (semantics 1c)."""
    for partition in seen.partitions.values():
        read = set(partition.reads.value)
        writes = partition.writes
        for row, value in enumerate(writes.value):
            if writes.transactional[row] and writes.outcome[row] == "info" and value in read:
                seen.proven_transfers.add(writes.operation[row])


def _observe(
    seen: Observations, chains: dict[tuple[Any, str], _Chain], position: int, operation: Operation
) -> None:
    completion = operation.completion
    if completion is not None and "isolation" in completion.extra:
        seen.isolation = str(completion.extra["isolation"])
    match operation.f:
        case "send":
            _sends(seen, position, operation)
        case "transfer":
            _transfer(seen, position, operation)
        case "txn":
            _transaction(seen, position, operation)
        case "poll" if completion is not None and completion.type == "ok":
            records = _records(completion.value or [])
            _read(seen, position, records)
            assigned = completion.extra.get("assigned")
            started = None if assigned is None else [(str(p), int(o)) for p, o in assigned]
            for name, _ in started or ():
                seen.partition(name)
            for name, begins in completion.extra.get("log_start") or ():
                _begins(seen.partition(str(name)), position, int(begins))
            if records or started is not None:
                seen.polls.append(Poll(position, started, records))
        case "end-offset" if completion is not None and completion.type == "ok":
            for name, end in completion.value:
                seen.partition(str(name)).ends.append((position, int(end), False))
        case "final-read":
            seen.partition(str(operation.invoke.key))  # it exists, whether it can be read or not
            if completion is not None and completion.type == "ok":
                _final_read(seen, chains, position, operation, completion)


def _sends(seen: Observations, position: int, operation: Operation) -> None:
    """The values are the invocation's; acknowledged offsets are the completion's. In a group of which only
    some were acknowledged, each is as certain as the whole: `info`."""
    completion = operation.completion
    extra = {} if completion is None else completion.extra
    value = operation.invoke.value
    partition = seen.partition(str(operation.invoke.key))
    if isinstance(value, list):
        offsets = extra.get("offsets") or [None] * len(value)
        for one, offset in zip(value, offsets, strict=True):
            _write(partition, hashable(one), position, operation.outcome, offset, False)
    else:
        _write(partition, hashable(value), position, operation.outcome, extra.get("offset"), False)


def _transfer(seen: Observations, position: int, operation: Operation) -> None:
    """Inputs were read whatever became of the transaction. An `ok` transfer's outputs are acknowledged."""
    value = operation.value
    if not isinstance(value, dict):
        return
    _read(seen, position, _records(value.get("inputs", [])))
    for name, offset, output in value.get("outputs", []):
        _write(seen.partition(str(name)), hashable(output), position, operation.outcome, offset, True)


def _transaction(seen: Observations, position: int, operation: Operation) -> None:
    """Sends and polls as micro-operations. What was polled was polled whatever became of the transaction, and a
    consumer goes on where it was. An `ok` transaction's sends are acknowledged; of others an offset says at least
    that the record was written."""
    completion = operation.completion
    records: list[tuple[str, int, Value]] = []
    for f, *rest in operation.value or ():
        if f == "send":
            offset, sent = rest[1] if isinstance(rest[1], list) else (None, rest[1])
            _write(seen.partition(str(rest[0])), hashable(sent), position, operation.outcome, offset, True)
        elif f == "poll" and rest:
            for name, polled in rest[0].items():
                records += [(str(name), int(offset), hashable(value)) for offset, value in polled]
    _read(seen, position, records)
    assigned = None if completion is None else completion.extra.get("assigned")
    started = None if assigned is None else [(str(p), int(o)) for p, o in assigned]
    for name, _ in started or ():
        seen.partition(name)
    if records or started is not None:
        seen.polls.append(Poll(position, started, records))


def _write(
    partition: Partition, value: Value, position: int, outcome: str, offset: Any, transactional: bool
) -> None:
    writes = partition.writes
    partition.writers.setdefault(value, []).append(len(writes.value))
    writes.value.append(value)
    writes.operation.append(position)
    writes.outcome.append(outcome)
    writes.offset.append(None if offset is None else int(offset))
    writes.transactional.append(transactional)


def _records(value: Any) -> list[tuple[str, int, Value]]:
    return [(str(name), int(offset), hashable(record)) for name, offset, record in value]


def _read(seen: Observations, position: int, records: list[tuple[str, int, Value]]) -> None:
    for name, offset, value in records:
        reads = seen.partition(name).reads
        reads.offset.append(offset)
        reads.value.append(value)
        reads.operation.append(position)


class _Chain:
    """Final reads of one process and partition that join; broken ones never become authoritative."""

    def __init__(self) -> None:
        self.values: dict[int, Value] = {}
        self.operations: list[int] = []
        self.next_offset = 0


def _final_read(
    seen: Observations,
    chains: dict[tuple[Any, str], _Chain],
    position: int,
    operation: Operation,
    completion: Op,
) -> None:
    """Rule 6 (semantics 1c): only a read that began at the beginning and came to the end offset reported after
    the heal can prove an absence. A later chain replaces an earlier one, which then is a read as any other."""
    name, extra = str(operation.invoke.key), completion.extra
    records = _records(completion.value or [])
    _read(seen, position, records)
    partition = seen.partition(name)
    start, reached, end = int(extra["from"]), int(extra["next"]), int(extra["end"])
    high_watermark = int(extra.get("high_watermark", end))
    partition.ends.append((position, max(end, high_watermark), True))
    _begins(partition, position, int(extra.get("log_start", 0)))
    key = (operation.process, name)
    if start == 0:
        chains[key] = _Chain()
    chain = chains.get(key)
    if chain is None or chain.next_offset != start:
        chains.pop(key, None)
        return
    chain.values.update((offset, value) for _, offset, value in records)
    chain.operations.append(position)
    chain.next_offset = reached
    if extra.get("reached") and reached >= end:
        values = dict(sorted(chain.values.items()))
        partition.final = Final(values, tuple(chain.operations), end, high_watermark, partition.log_start)
        return
    if partition.final is not None and partition.final.operations[0] == chain.operations[0]:
        partition.final = None  # the log grew, and what it grew by was not read
    if partition.final_progress is None or partition.final_progress[0] < reached:
        partition.final_progress = (reached, end)


def _begins(partition: Partition, position: int, start: int) -> None:
    partition.log_start = max(partition.log_start, start)
    partition.begins.append((position, start))


def hashable(value: Any) -> Value:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return ("json", json.dumps(value, sort_keys=True))


def shown(value: Value) -> str:
    return str(value[1]) if isinstance(value, tuple) else str(value)
