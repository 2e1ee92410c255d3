"""What a history says about transfers: transactions, their inputs and outputs, and committed offsets.

An output tells where it comes from: `1@33=0:17 by 12.4 2/3` is the second of three outputs of transaction
`12.4`, made from input partition 1, offset 33, value `0:17`. So outputs of a process that died before it
could say what it did are still known for what they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from checkers.log.observations import Observations
from harness.errors import UserError
from harness.ops import Operation

_OUTPUT = re.compile(
    r"(?P<partition>\d+)@(?P<offset>\d+)=(?P<value>.*) by (?P<txn>\S+) (?P<part>\d+)/(?P<of>\d+)"
)


class Input(NamedTuple):
    """An input record by where it stood and what it was. `partition` is the index in the input topic."""

    partition: int
    offset: int
    value: str


class Output(NamedTuple):
    """An output record as it tells of itself."""

    source: Input
    txn: str
    part: int
    of: int


def topic_of(partition: str) -> str:
    return partition.rpartition("/")[0]


def parse_output(value: Any) -> Output | None:
    """None for what no pipeline writes."""
    match = _OUTPUT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    source = Input(int(match["partition"]), int(match["offset"]), match["value"])
    return Output(source, match["txn"], int(match["part"]), int(match["of"]))


@dataclass(slots=True)
class Transaction:
    """`fate` is `committed` (acknowledged), `aborted` (acknowledged), `empty` (nothing to read) or `unknown`."""

    name: str
    operation: int
    fate: str
    inputs: list[tuple[str, int, Any]] = field(default_factory=list)
    outputs: int = 0
    """How many it told of; 0 where it died before it told anything."""


@dataclass(slots=True)
class Commit:
    """Offsets of an acknowledged commit, or fetched: partition -> next offset to read. `known` is the history index
    of the event that proves it, `asked` that from which a fetch may have been answered."""

    operation: int
    asked: int
    known: int
    offsets: dict[str, int]


@dataclass(slots=True)
class Transfers:
    transactions: dict[str, Transaction] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    fetches: list[Commit] = field(default_factory=list)
    final_offsets: dict[str, int | None] | None = None
    """The last fetch of the final phase; None where there was none."""
    final_fetch: int | None = None
    """Its operation."""
    output_partitions: set[str] = field(default_factory=set)
    input_topic: str | None = None
    """Where no transaction lived to tell what it read: that of the group's offsets."""


def collect(seen: Observations, *, offsets_in_transaction: bool) -> Transfers:
    """Raises `UserError` naming the operation that has not the shape of its `f`."""
    found = Transfers()
    for position, operation in enumerate(seen.operations):
        if operation.f not in ("transfer", "committed"):
            continue
        try:
            if operation.f == "transfer":
                _transfer(found, position, operation, offsets_in_transaction)
            else:
                _committed(found, position, operation)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise UserError(
                f"operation {operation.invoke.index} ({operation.f}) has not the shape of one: "
                f"{type(error).__name__}: {error}"
            ) from error
    for fetch in found.fetches:
        for partition in fetch.offsets:
            found.input_topic = found.input_topic or topic_of(partition)
    return found


def _transfer(found: Transfers, position: int, operation: Operation, offsets_in_transaction: bool) -> None:
    completion = operation.completion
    extra = {} if completion is None else completion.extra
    resumed = extra.get("resumed")
    if completion is not None and resumed is not None:
        offsets = {str(p): int(o) for p, o in resumed}
        found.fetches.append(Commit(position, operation.invoke.index, completion.index, offsets))
    name = str(operation.invoke.extra.get("txn", operation.invoke.index))
    fate = {"ok": "committed", "fail": "aborted", "info": "unknown"}[operation.outcome]
    if extra.get("outcome") == "empty":
        fate = "empty"
    transaction = Transaction(name, position, fate)
    if isinstance(operation.value, dict):
        transaction.inputs = [(str(p), int(o), v) for p, o, v in operation.value.get("inputs", [])]
        transaction.outputs = len(operation.value.get("outputs", []))
        found.output_partitions.update(str(p) for p, _, _ in operation.value.get("outputs", []))
    for partition, _, _ in transaction.inputs:
        found.input_topic = found.input_topic or topic_of(partition)
    found.transactions[name] = transaction
    acknowledged = fate == "committed" and (offsets_in_transaction or _said_so_after(operation))
    if acknowledged and completion is not None:
        found.commits.append(
            Commit(position, operation.invoke.index, completion.index, _next_offsets(transaction))
        )


def _said_so_after(operation: Operation) -> bool:
    """With separate offsets: the process lived on after its transaction until they were committed too."""
    extra = {} if operation.completion is None else operation.completion.extra
    return "crashed" not in extra and "error_after" not in extra


def _next_offsets(transaction: Transaction) -> dict[str, int]:
    offsets: dict[str, int] = {}
    for partition, offset, _ in transaction.inputs:
        offsets[partition] = max(offset + 1, offsets.get(partition, 0))
    return offsets


def _committed(found: Transfers, position: int, operation: Operation) -> None:
    completion = operation.completion
    if completion is None or completion.type != "ok":
        return
    found.final_offsets = {str(p): None if o is None else int(o) for p, o in completion.value}
    found.final_fetch = position
    offsets = {name: offset or 0 for name, offset in found.final_offsets.items()}
    found.fetches.append(Commit(position, operation.invoke.index, completion.index, offsets))
