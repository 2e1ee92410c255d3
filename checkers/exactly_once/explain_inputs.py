"""`eos-duplicate` and `eos-loss` for a reader: an input record's way through transactions to the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.exactly_once.case import Case, at, explained, fate, input_beats, told_by_transaction
from checkers.exactly_once.transfers import Transaction
from checkers.findings import Explanation
from checkers.log.scene import final_read, read, when_done
from checkers.narrative import names, quoted, seconds
from harness.ops import Operation


def duplicate(case: Case) -> Explanation:
    finding = case.finding
    copies = [(str(p), int(o), str(txn)) for p, o, txn in finding.detail["outputs"]]
    copies.sort(key=lambda copy: _begun(case, copy[2]))
    aborted = [txn for _, _, txn in copies if _was_aborted(case, txn)]
    told = [
        f"{p} offset {o} by transaction {txn} ({fate(case, txn)}{', and yet visible' if txn in aborted else ''})"
        for p, o, txn in copies
    ]
    kind = "outputs visible to read_committed" if aborted else "committed outputs"
    summary = f"{at(finding)}: {quoted(finding.value)} has {len(copies)} {kind}, {names(told)}"
    again = case.transfers.transactions.get(copies[-1][2])
    resumed = _resumed(case, again) if again is not None and not aborted else None
    if resumed is not None:
        operation, start = resumed
        summary += (
            f"; process {operation.process} had started from the committed offset {start} of {finding.partition}, "
            f"fetched after {seconds(operation.start)}"
        )
    beats = input_beats(case)
    for txn in dict.fromkeys(txn for _, _, txn in copies):
        transaction = case.transfers.transactions.get(txn)
        if transaction is not None:
            beats += told_by_transaction(case, transaction)
    if resumed is not None:
        operation, start = resumed
        text = f"process {operation.process} starts from the committed offset of {finding.partition}, {start}"
        beats.append(read(Operation(operation.invoke, None), text))
    for partition in dict.fromkeys(partition for partition, _, _ in copies):
        here = [(offset, txn) for name, offset, txn in copies if name == partition]
        shown_as = names([f"{offset} (transaction {txn})" for offset, txn in here])
        beats += final_read(case.place, partition, here[0][0], f"has an output of it at offset {shown_as}")
    return explained(case, summary, beats, data=_picture(case))


def _was_aborted(case: Case, txn: str) -> bool:
    """Only where read_committed shows what it must not."""
    transaction = case.transfers.transactions.get(txn)
    return transaction is not None and transaction.fate == "aborted"


def _begun(case: Case, txn: str) -> int:
    """A transaction of which nobody told stands first."""
    transaction = case.transfers.transactions.get(txn)
    return -1 if transaction is None else case.operation(transaction).invoke.index


def _resumed(case: Case, transaction: Transaction) -> tuple[Operation, int] | None:
    """Where its process began to read the input partition, if at a committed offset that does not cover the input."""
    own = case.operation(transaction)
    latest: tuple[Operation, int] | None = None
    for fetch in case.transfers.fetches:
        operation = case.place.seen.operations[fetch.operation]
        start = fetch.offsets.get(case.finding.partition)
        mine = operation.f == "transfer" and operation.process == own.process and operation.start <= own.start
        if mine and start is not None and start <= (case.finding.offset or 0):
            latest = (operation, start)
    return latest


def lost(case: Case) -> Explanation:
    finding = case.finding
    assert finding.offset is not None
    committed = finding.detail["committed"]
    taken = case.taken_by(finding.partition, finding.offset)
    tries = [
        f"transaction {t.name} of process {case.operation(t).process} ({fate(case, t.name)})" for t in taken
    ]
    who = f"was taken by {names(tries)}" if tries else "was taken by nobody that lived to tell"
    summary = f"{at(finding)}: {quoted(finding.value)} {who}, and has no committed output"
    beats = input_beats(case)
    for transaction in taken[:2] + taken[2:][-1:]:
        beats += told_by_transaction(case, transaction)
    passed = _passing(case, taken)
    if passed is None:
        summary += f", although the committed offset is {committed}, beyond it"
    else:
        first = min(offset for name, offset, _ in passed.inputs if name == finding.partition)
        operation = case.operation(passed)
        summary += (
            f"; transaction {passed.name} of process {operation.process} went on from offset {first} and committed at "
            f"{when_done(operation)}, and the group's offset with it"
        )
        beats += told_by_transaction(case, passed, f", which goes on from {finding.partition} offset {first}")
    fetch = case.place.operation(case.ops[-1].index)
    if fetch is not None:
        text = (
            f"the group's committed offset of {finding.partition} is {committed}: offset {finding.offset} counts as done, "
            "and no committed output comes from it"
        )
        beats.append(read(fetch, text))
    return explained(case, summary, beats, data=_picture(case))


def _passing(case: Case, taken: Sequence[Transaction]) -> Transaction | None:
    """The first acknowledged transaction, after those that took the input, that went on beyond it without it."""
    offset, partition = case.finding.offset, case.finding.partition
    assert offset is not None
    after = max([case.operation(t).invoke.index for t in taken], default=-1)
    for transaction in case.transfers.transactions.values():
        offsets = [at for name, at, _ in transaction.inputs if name == partition]
        later = case.operation(transaction).invoke.index > after
        if transaction.fate == "committed" and later and offsets and min(offsets) > offset:
            return transaction
    return None


def _picture(case: Case) -> dict[str, Any]:
    """The input record, the transactions that took it, and what of it is in the committed output."""
    finding = case.finding
    taken = case.taken_by(finding.partition, finding.offset or 0)
    outputs = [
        (case.outputs.at[p, o].txn, p, o)
        for source, places in case.outputs.by_source.items()
        if source.value == str(finding.value) and source.offset == finding.offset
        for p, o in places
        if str(source.partition) == finding.partition.rpartition("/")[2]
    ]
    known = {t.name for t in taken}
    names_of = [t.name for t in taken] + [txn for txn, _, _ in outputs if txn not in known]
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(names_of):
        transaction = case.transfers.transactions.get(name)
        operation = None if transaction is None else case.operation(transaction)
        rows.append(
            {
                "txn": name,
                "process": None if operation is None else operation.process,
                "op": None if operation is None else operation.invoke.index,
                "time": None if operation is None else operation.start,
                "fate": "unknown" if transaction is None else transaction.fate,
                "outputs": [[p, o] for txn, p, o in outputs if txn == name],
            }
        )
    picture = {
        "partition": finding.partition,
        "offset": finding.offset,
        "value": str(finding.value),
        "transactions": rows,
    }
    return {"inputs": picture}
