"""`torn-txn`, `aborted-read`, `phantom-read` and `offset-regression` for a reader."""

from __future__ import annotations

from checkers.exactly_once.case import Case, at, explained, fate, told_by_transaction
from checkers.exactly_once.coordination import transaction_beats, transaction_events
from checkers.exactly_once.transfers import Transaction
from checkers.findings import Explanation
from checkers.log.scene import final_read, read, when_done
from checkers.narrative import names, quoted, seconds
from checkers.story import Beat
from harness.ops import Operation


def torn(case: Case) -> Explanation:
    finding, detail = case.finding, case.finding.detail
    shown_parts = [str(part) for part in detail["shown"]]
    missing = [str(part) for part in range(1, detail["of"] + 1) if part not in detail["shown"]]
    summary = (
        f"transaction {finding.value} of process {case.ops[0].process} ({fate(case, finding.value)}) wrote {detail['of']} "
        f"outputs, of which read_committed shows {names(shown_parts)} and not {names(missing)}"
    )
    transaction = case.transfers.transactions[finding.value]
    beats = told_by_transaction(case, transaction)
    for partition, offset in detail["places"]:
        output = case.outputs.at[partition, offset]
        text = f"has output {output.part} of {output.of} of transaction {finding.value} at offset {offset}"
        beats += final_read(case.place, partition, offset, text)
    seen_in = {partition for partition, _ in detail["places"]}
    for partition in _written(case, transaction) - seen_in:
        beats += final_read(case.place, partition, None, f"has no output of transaction {finding.value}")
    return explained(case, summary, beats, partitions=sorted(_written(case, transaction)))


def _written(case: Case, transaction: Transaction) -> set[str]:
    value = case.operation(transaction).value
    return {str(p) for p, _, _ in value.get("outputs", [])} if isinstance(value, dict) else set()


def aborted_read(case: Case) -> Explanation:
    finding, last = case.finding, case.ops[-1]
    txn = finding.detail["txn"]
    summary = (
        f"{at(finding)}: {quoted(finding.value)} was read by process {last.process} by {seconds(last.time)}, although "
        f"transaction {txn} was aborted, acknowledged to process {case.ops[1].process} at {seconds(case.ops[1].time)}"
    )
    return explained(
        case, summary, told_by_transaction(case, case.transfers.transactions[txn]) + _reading(case)
    )


def phantom_read(case: Case) -> Explanation:
    finding, last = case.finding, case.ops[-1]
    summary = (
        f"{at(finding)}: process {last.process} read {quoted(finding.value)} by {seconds(last.time)}, but "
        f"{finding.detail['why']}"
    )
    transaction = case.transfers.transactions.get(str(finding.detail["txn"]))
    beats = [] if transaction is None else told_by_transaction(case, transaction)
    return explained(case, summary, beats + _reading(case))


def _reading(case: Case) -> list[Beat]:
    reading = case.place.operation(case.ops[-1].index)
    text = f"process {case.ops[-1].process} reads {quoted(case.finding.value)} at {at(case.finding)}"
    return [] if reading is None else [read(reading, text)]


def offset_regression(case: Case) -> Explanation:
    finding, committed = case.finding, case.finding.detail["committed"]
    commit, fetch = case.place.operation(case.ops[0].index), case.place.operation(case.ops[-1].index)
    assert commit is not None
    assert fetch is not None
    summary = (
        f"{finding.partition}: process {commit.process} was told at {when_done(commit)} that offset {committed} is committed, "
        f"and process {fetch.process}, which asked at {seconds(fetch.start)}, was given {finding.offset}"
    )
    told = (
        f"process {commit.process} is told that its commit of {finding.partition} offset {committed} is done"
    )
    given = (
        f"process {fetch.process} is given {finding.offset} as the committed offset of {finding.partition}"
    )
    beats = [
        read(
            Operation(commit.invoke, None), f"process {commit.process} begins the transaction that commits it"
        ),
        read(commit, told),
        read(
            Operation(fetch.invoke, None),
            f"process {fetch.process} begins, and asks for the committed offset",
        ),
        read(fetch, given),
    ]
    beats += transaction_beats(transaction_events(case.place.context.events, case.place.seen, commit))
    return explained(case, summary, beats)
