"""Model `kafka`: from a history of sends and polls to transactions, and at which offsets their values stand.

A transaction is an operation `txn` with a list of micro-operations:

    ["send", "accounts/1", 7]          in the invocation; ["send", "accounts/1", [42, 7]] once its offset is known
    ["poll"]                           in the invocation; ["poll", {"accounts/1": [[40, 5], [42, 7]]}] with what it got

which is how Jepsen's workload for Kafka writes them, also for its operations `send` and `poll`. The plain operations
of the log workloads (`send`, `poll`, `final-read`) are transactions of one micro-operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from checkers.transactions.loading import OUTCOMES
from checkers.transactions.micro_operations import Columns, Transactions
from harness.columns import freeze
from harness.errors import UserError
from harness.history import History
from harness.ops import NEMESIS, Op

KINDS: Final = frozenset({"txn", "send", "poll", "final-read"})
Micro = tuple[str, str, Any]


@dataclass(slots=True)
class Offsets:
    """By partition, what was seen at each offset; an offset that was said of two values is kept apart."""

    seen: dict[str, dict[int, Any]] = field(default_factory=dict)
    contradicted: set[tuple[str, int]] = field(default_factory=set)

    def saw(self, partition: str, offset: Any, value: Any) -> None:
        if offset is None:
            return
        known = self.seen.setdefault(partition, {}).setdefault(int(offset), value)
        if freeze(known) != freeze(value):
            self.contradicted.add((partition, int(offset)))

    def order(self, partition: str) -> list[Any]:
        """Values by offset, each where it first stands, without offsets that contradict themselves (rule 3, semantics
        1c: gaps mean nothing)."""
        found = self.seen.get(partition, {})
        placed: dict[Any, Any] = {}
        for offset in sorted(found):
            if (partition, offset) not in self.contradicted:
                placed.setdefault(freeze(found[offset]), found[offset])
        return list(placed.values())


def from_log(history: History) -> tuple[Transactions, Offsets]:
    """Raises `UserError` naming the operation that is none of a log, or where there is none at all."""
    offsets, ops = Offsets(), history.ops
    columns = Columns("kafka", lambda position: f"operation with index {ops[position].index}")
    began = False
    for position, op in enumerate(ops):
        if op.f not in KINDS or op.process == NEMESIS:
            continue
        began = True
        try:
            done = op.type != "invoke"
            value = None if done and op.value is None else list(_micro_operations(op, offsets))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise UserError(
                f"operation with index {op.index} ({op.f}) is no operation of --model kafka: "
                f"{type(error).__name__}: {error}"
            ) from None
        if done:
            columns.complete(position, op.process, OUTCOMES[op.type], op.index, op.time, value)
        else:
            columns.invoke(position, op.process, op.index, op.time, value)
    if not began:
        raise UserError('the history has no operation of a log: none has \'f\' "txn", "send" or "poll"')
    return columns.transactions(), offsets


def _micro_operations(op: Op, offsets: Offsets) -> Iterator[Micro]:
    value = [] if op.value is None else op.value
    if op.f == "txn" or _is_program(value):
        for micro in value:
            yield from _of_program(micro, offsets)
    elif op.f == "send":
        yield from _of_send(op, offsets)
    else:
        for partition, offset, record in value:
            offsets.saw(str(partition), offset, record)
            yield "poll", str(partition), record


def _is_program(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list) and value[0][:1] in _FIRST


_FIRST: Final = (["send"], ["poll"])


def _of_program(micro: Sequence[Any], offsets: Offsets) -> Iterator[Micro]:
    if micro[0] == "send":
        _, key, value = micro
        if isinstance(value, list):
            offset, value = value
            offsets.saw(str(key), offset, value)
        yield "send", str(key), value
    elif micro[0] == "poll":
        polled: Mapping[Any, Sequence[Sequence[Any]]] = (micro[1] if len(micro) > 1 else None) or {}
        for key, records in polled.items():
            for offset, value in records:
                offsets.saw(str(key), offset, value)
                yield "poll", str(key), value
    else:
        raise ValueError(f"unknown micro-operation {micro[0]!r} (known: send, poll)")


def _of_send(op: Op, offsets: Offsets) -> Iterator[Micro]:
    """The values are the invocation's; offsets stand in the completion, one or a list as the values."""
    values = op.value if isinstance(op.value, list) else [op.value]
    told = op.extra.get("offsets") or [op.extra.get("offset")]
    for place, value in enumerate(values):
        if op.type != "invoke" and place < len(told):
            offsets.saw(str(op.key), told[place], value)
        yield "send", str(op.key), value
