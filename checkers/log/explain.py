"""The sentences of the `log` checker."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.findings import Finding, anomalies_of
from checkers.log.lost import acknowledged_count
from checkers.log.observations import Observations, shown
from checkers.story import seconds
from harness.checker import CheckContext
from harness.ops import Op
from harness.results import Anomaly


def explain(seen: Observations, findings: Sequence[Finding], context: CheckContext) -> tuple[Anomaly, ...]:
    """In order of name, then partition."""

    def out_of(finding: Finding) -> tuple[int, str] | None:
        if finding.name not in ("lost-write", "unseen"):
            return None
        return acknowledged_count(seen, seen.partitions[finding.partition]), "acknowledged records"

    return anomalies_of(
        seen.history, findings, context, sentence=_sentence, out_of=out_of, allowed=frozenset({"unseen"})
    )


def _sentence(finding: Finding, ops: list[Op]) -> str:
    value, detail = shown(finding.value), finding.detail
    place = finding.partition if finding.offset is None else f"{finding.partition} offset {finding.offset}"
    match finding.name:
        case "lost-write":
            acknowledged = _completion(ops)
            proof = (
                "the final read came to the end and does not have it"
                if detail["final"]
                else "a consumer that read on beyond it later did not get it"
            )
            return f"{place}: {value}, acknowledged {acknowledged}, is lost: {proof}"
        case "unseen":
            return f"{place}: {value}, acknowledged {_completion(ops)}, was never read: lost or late"
        case "duplicate":
            offsets = ", ".join(str(o) for o in detail["offsets"])
            return f"{finding.partition}: {value} was sent once and stands at offsets {offsets}"
        case "inconsistent-offsets":
            values = " and ".join(shown(v) for v in detail["values"])
            return f"{place} was seen with different values: {values}"
        case "vanished-read":
            read = next((op for op in ops if op.index == detail["read"]), ops[0])
            instead = detail["instead"]
            now = (
                f"the log ends at {detail['end']}"
                if finding.offset is not None and finding.offset >= detail["end"]
                else f"{shown(instead)} stands there"
                if instead is not None
                else "nothing stands there"
            )
            return (
                f"{place}: process {read.process} read {value} by {seconds(read.time)}, and in the end {now}"
            )
        case "aborted-read":
            return (
                f"{place}: {value} was read by process {ops[-1].process} by {seconds(ops[-1].time)}, although its "
                f"send had certainly failed ({_failure(ops)})"
            )
        case "phantom-read":
            why = "before anybody sent it" if detail["early"] else "although nobody ever sent it"
            return f"{place}: process {ops[-1].process} read {value} {why}"
        case "nonmonotonic-send" | "int-nonmonotonic-send":
            first = shown(detail["before"])
            return (
                f"{finding.partition}: process {ops[0].process} sent {first} and then {value}, but {value} stands at "
                f"offset {finding.offset}, before {first} at {detail['before_offset']}"
            )
        case "poll-skip" | "int-poll-skip":
            return (
                f"{finding.partition}: process {ops[-1].process}, due at offset {detail['expected']}, was given "
                f"{value} at {finding.offset} and never {shown(detail['skipped_value'])} at {detail['skipped']}"
            )
        case "nonmonotonic-poll":
            return (
                f"{finding.partition}: process {ops[-1].process}, due at offset {detail['expected']}, was sent back to "
                f"{value} at {finding.offset}"
            )
        case "nonmonotonic-end-offset":
            return (
                f"{finding.partition}: after the heal its end offset is {finding.offset}, although "
                f"{detail['before']} had been answered at {seconds(ops[0].time)}"
            )
        case "lso-stuck":
            return (
                f"{finding.partition}: the last stable offset stays at {finding.offset}, below the high watermark "
                f"{detail['high_watermark']}: a transaction never ends"
            )
        case _:
            return f"{place}: {finding.name} {value}"


def _completion(ops: list[Op]) -> str:
    done = ops[1] if len(ops) > 1 else ops[0]
    return f"to process {done.process} at {seconds(done.time)}"


def _failure(ops: list[Op]) -> str:
    failed = next((op for op in ops if op.type == "fail"), None)
    return "its operation failed" if failed is None or failed.error is None else str(failed.error)
