"""One finding of the `exactly-once` checker with everything that it is told from, and the beats of its story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checkers.exactly_once.coordination import coordinator, transaction_beats, transaction_events
from checkers.exactly_once.outputs import Outputs
from checkers.exactly_once.transfers import Transaction, Transfers
from checkers.findings import Explanation, Finding
from checkers.log.scene import Scene, partition_beats, read, sent, when_done
from checkers.story import TELLING, Beat, fault_beats
from harness.ops import Op, Operation

FATES = {
    "committed": "committed",
    "aborted": "aborted",
    "unknown": "outcome unknown",
    "empty": "nothing to read",
}


@dataclass(slots=True)
class Case:
    """Everything that one finding is told from."""

    place: Scene
    transfers: Transfers
    outputs: Outputs
    finding: Finding
    ops: list[Op]

    def operation(self, transaction: Transaction) -> Operation:
        return self.place.seen.operations[transaction.operation]

    def taken_by(self, partition: str, offset: int) -> list[Transaction]:
        """Transactions that read the input and lived to tell, in order."""
        return [
            t
            for t in self.transfers.transactions.values()
            if any(name == partition and at == offset for name, at, _ in t.inputs)
        ]


def at(finding: Finding) -> str:
    return finding.partition if finding.offset is None else f"{finding.partition} offset {finding.offset}"


def fate(case: Case, txn: str) -> str:
    """`committed at 3.120 s`; as far as the client knows."""
    transaction = case.transfers.transactions.get(txn)
    if transaction is None:
        return "of which no client told"
    operation = case.operation(transaction)
    known = transaction.fate in ("committed", "aborted")
    return FATES[transaction.fate] + (f" at {when_done(operation)}" if known else "")


def input_beats(case: Case) -> list[Beat]:
    """How the input record came to be there."""
    value = case.finding.value
    writing = case.place.writing(case.finding.partition, value)
    return [] if writing is None else sent(case.place, case.finding.partition, value, writing, None)


PLANS = frozenset({"abort", "crash", "stall"})
"""What a workload makes its pipelines do on purpose."""


def told_by_transaction(case: Case, transaction: Transaction, doing: str = "") -> list[Beat]:
    operation = case.operation(transaction)
    invoke, completion = operation.invoke, operation.completion
    who, name = f"process {operation.process}", transaction.name
    inputs = len(transaction.inputs)
    if not doing and inputs:
        doing = f", which takes {inputs} input{'' if inputs == 1 else 's'}"
    plan = invoke.extra.get("plan")
    made_to = f" (the workload makes it {plan})" if plan in PLANS else ""
    events = transaction_events(case.place.context.events, case.place.seen, operation)
    beats = [
        read(Operation(invoke, None), f"{who} begins transaction {name}{doing}{made_to}"),
        *transaction_beats(events),
    ]
    why = "" if completion is None or completion.error is None else f" ({completion.error})"
    words = {
        "committed": f"{who} is told that transaction {name} is committed",
        "aborted": f"{who} is told that transaction {name} is aborted{why}",
        "unknown": f"{who} never learns what became of transaction {name}{why}",
        "empty": f"{who} ends transaction {name}: there was nothing to read",
    }
    if completion is not None:
        node = coordinator(events) if transaction.fate in ("committed", "aborted") else None
        beats.append(read(operation, words[transaction.fate], node))
    return beats


def explained(
    case: Case,
    summary: str,
    beats: list[Beat],
    *,
    partitions: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
) -> Explanation:
    """With the faults of its time, and what nodes said of `partitions`."""
    start = min(op.time for op in case.ops)
    ends = [beat.moment.time for beat in beats if not _is_final(case, beat)]
    end = max(ends or [op.time for op in case.ops])
    beats = [
        *beats,
        *fault_beats(case.place.faults, start, end),
        *(
            Beat(beat.moment, max(beat.weight, TELLING))
            for name in partitions
            for beat in partition_beats(case.place, name, start, end)
        ),
    ]
    return Explanation(summary=summary, beats=beats, start=start, end=end, data=dict(data or {}))


def _is_final(case: Case, beat: Beat) -> bool:
    """Of the final phase: the proof, long after what it proves."""
    operation = None if beat.moment.op is None else case.place.operation(beat.moment.op)
    return operation is not None and operation.f in ("final-read", "committed")
