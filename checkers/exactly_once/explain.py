"""The sentences of the `exactly-once` checker."""

from __future__ import annotations

from checkers.findings import Finding
from checkers.log.observations import shown
from checkers.story import seconds
from harness.ops import Op


def sentence(finding: Finding, ops: list[Op]) -> str:
    value, detail = shown(finding.value), finding.detail
    place = finding.partition if finding.offset is None else f"{finding.partition} offset {finding.offset}"
    match finding.name:
        case "eos-duplicate":
            outputs = detail["outputs"]
            places = " and ".join(
                f"{partition} offset {offset} (by {txn})" for partition, offset, txn in outputs
            )
            return f"{place}: {value} was carried {len(outputs)} times to the committed output: {places}"
        case "eos-loss":
            taken = [op for op in ops if op.f == "transfer" and op.type != "invoke"]
            tries = ", ".join(f"{op.extra.get('txn')} ({op.extra.get('outcome')})" for op in taken)
            who = f"taken by {tries}" if tries else "taken by nobody that lived to tell"
            return f"{place}: {value} is below the committed offset {detail['committed']} and has no committed output; {who}"
        case "torn-txn":
            parts = ", ".join(str(part) for part in detail["shown"])
            return (
                f"transaction {value} ({detail['fate']}, {seconds(ops[0].time)}) wrote {detail['of']} outputs, of which "
                f"read_committed shows only {parts}"
            )
        case "aborted-read":
            return (
                f"{place}: {value} was read by process {ops[-1].process} by {seconds(ops[-1].time)}, although the abort "
                f"of transaction {detail['txn']} was acknowledged at {seconds(ops[1].time)}"
            )
        case "offset-regression":
            return (
                f"{finding.partition}: offset {detail['committed']}, whose commit process {ops[0].process} had "
                f"acknowledged at {seconds(ops[1].time)}, was fetched as {finding.offset} by process {ops[-1].process}"
            )
        case _:
            return f"{place}: process {ops[-1].process} read {value}, but {detail['why']}"
