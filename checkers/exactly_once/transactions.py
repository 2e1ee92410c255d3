"""`torn-txn`, `aborted-read` and `phantom-read`: outputs that their transactions do not account for."""

from __future__ import annotations

from checkers.exactly_once.outputs import Outputs
from checkers.exactly_once.transfers import Output, Transfers, parse_output, topic_of
from checkers.findings import Finding
from checkers.log.observations import Observations


def torn(seen: Observations, transfers: Transfers, outputs: Outputs) -> list[Finding]:
    """Transactions of which read_committed shows some outputs and not all, after quiesce (every output
    partition read to its end, nothing held back). Rule 2 (semantics 1c): it does not matter whether
    the transaction was acknowledged; one visible output proves that it committed. Each output says how
    many there are. Rule 4: Kafka does not isolate writes, so that interleaving alone is none."""
    if not outputs.complete or not outputs.read_committed:
        return []
    findings: list[Finding] = []
    for name, places in outputs.by_txn.items():
        shown = sorted({outputs.at[place].part for place in places})
        of = max(outputs.at[place].of for place in places)
        if len(shown) >= of or name not in transfers.transactions:
            continue
        transaction = transfers.transactions[name]
        proofs = dict.fromkeys(_final_operation(seen, partition) for partition in outputs.partitions)
        findings.append(
            Finding(
                name="torn-txn",
                partition=topic_of(places[0][0]),
                ops=(
                    *seen.indices(transaction.operation),
                    *(seen.indices(op)[-1] for op in proofs if op is not None),
                ),
                value=name,
                detail={
                    "shown": shown,
                    "of": of,
                    "fate": transaction.fate,
                    "places": [list(p) for p in places],
                },
            )
        )
    return findings


def _final_operation(seen: Observations, partition: str) -> int | None:
    final = seen.partitions[partition].final
    return None if final is None else final.operations[-1]


def dirty(seen: Observations, transfers: Transfers, outputs: Outputs) -> list[Finding]:
    """Reads of outputs whose transaction was aborted, acknowledged so (`aborted-read`, G1a; rule 1), and of
    outputs that nobody can have written: of a transaction that never was or had nothing to read, or of
    a value that was never sent (`phantom-read`). Every read counts, not only the final one."""
    findings: list[Finding] = []
    found: set[tuple[str, str]] = set()
    for name in outputs.partitions:
        reads = seen.partitions[name].reads
        for offset, value, operation in zip(reads.offset, reads.value, reads.operation, strict=True):
            if (name, str(value)) in found:
                continue
            found.add((name, str(value)))
            output = parse_output(value)
            wrong, why = _wrong(seen, transfers, output)
            if wrong is None:
                continue
            transaction = None if output is None else transfers.transactions.get(output.txn)
            written = () if transaction is None else seen.indices(transaction.operation)
            findings.append(
                Finding(
                    name=wrong,
                    partition=name,
                    ops=(*written, *seen.indices(operation)),
                    value=value,
                    offset=offset,
                    detail={"why": why, "txn": None if output is None else output.txn},
                )
            )
    return findings


def _wrong(seen: Observations, transfers: Transfers, output: Output | None) -> tuple[str | None, str]:
    if output is None:
        return "phantom-read", "no pipeline writes such a record"
    transaction = transfers.transactions.get(output.txn)
    if transaction is None:
        return "phantom-read", f"there was no transaction {output.txn}"
    if transaction.fate == "empty":
        return "phantom-read", f"transaction {output.txn} had nothing to read"
    if transaction.fate == "aborted":
        return "aborted-read", ""
    source = seen.partitions.get(f"{transfers.input_topic}/{output.source.partition}")
    if source is not None and source.writes.value and output.source.value not in source.writers:
        return "phantom-read", f"{output.source.value} was never sent to {source.name}"
    return None, ""
