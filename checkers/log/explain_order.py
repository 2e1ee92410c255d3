"""Records that stand twice, in the wrong order, or where they should not, and readers that were led astray."""

from __future__ import annotations

from checkers.findings import Explanation, Finding
from checkers.log.scene import Scene, final_read, partition_beats, read, sent
from checkers.narrative import names, quoted, seconds
from checkers.story import Beat, fault_beats
from harness.ops import Op


def duplicate(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    value, offsets = finding.value, finding.detail["offsets"]
    writing = place.writing(finding.partition, value)
    by = "" if writing is None else f" by process {writing.process} at {seconds(writing.start)}"
    where = names([str(o) for o in offsets])
    summary = f"{finding.partition}: {quoted(value)} was sent once{by} and stands at offsets {where}"
    beats = [] if writing is None else sent(place, finding.partition, value, writing, None)
    beats += _copies(place, finding, offsets)
    return _explained(place, finding, summary, beats, ops)


def _copies(place: Scene, finding: Finding, offsets: list[int]) -> list[Beat]:
    """The final read, or the first read of each copy."""
    if place.seen.partitions[finding.partition].final is not None:
        where = names([str(o) for o in offsets])
        return final_read(
            place, finding.partition, offsets[-1], f"has {quoted(finding.value)} at offsets {where}"
        )
    reads = place.seen.partitions[finding.partition].reads
    beats: list[Beat] = []
    for offset in offsets:
        for at, what, position in zip(reads.offset, reads.value, reads.operation, strict=True):
            if at == offset and what == finding.value:
                operation = place.seen.operations[position]
                text = f"process {operation.process} reads {quoted(what)} at offset {offset}"
                beats.append(read(operation, text))
                break
    return beats


def reordered(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """`nonmonotonic-send` and `int-nonmonotonic-send`."""
    before, value = finding.detail["before"], finding.value
    summary = (
        f"{finding.partition}: process {ops[0].process} sent {quoted(before)} and then {quoted(value)}, but {quoted(value)} "
        f"stands at offset {finding.offset}, before {quoted(before)} at {finding.detail['before_offset']}"
    )
    beats: list[Beat] = []
    for one in (before, value):
        writing = place.writing(finding.partition, one)
        if writing is not None:
            beats += sent(place, finding.partition, one, writing, None)
    beats += final_read(
        place,
        finding.partition,
        finding.offset,
        f"has {quoted(value)} at offset {finding.offset} and {quoted(before)} after it",
    )
    return _explained(place, finding, summary, beats, ops)


def skipped(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """`poll-skip` and `int-poll-skip`."""
    detail, process = finding.detail, ops[-1].process
    missed = f"{quoted(detail['skipped_value'])} at {detail['skipped']}"
    summary = (
        f"{finding.partition}: process {process}, due at offset {detail['expected']}, was given {quoted(finding.value)} "
        f"at {finding.offset} by {seconds(ops[-1].time)} and never {missed}"
    )
    beats: list[Beat] = []
    writing = place.writing(finding.partition, detail["skipped_value"])
    if writing is not None:
        beats += sent(place, finding.partition, detail["skipped_value"], writing, None)
    earlier = place.operation(ops[0].index)
    poll = place.operation(ops[-1].index)
    if earlier is not None and earlier is not poll:
        text = f"process {process} has read {finding.partition} so far that it is due at {detail['expected']}"
        beats.append(read(earlier, text))
    if poll is not None:
        text = (
            f"process {process} is given {quoted(finding.value)} at offset {finding.offset}, without {missed}"
        )
        beats.append(read(poll, text))
    return _explained(place, finding, summary, beats, ops)


def aborted_read(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """Of a send that failed for certain."""
    failed = next((op for op in ops if op.type == "fail"), None)
    why = "its operation failed" if failed is None or failed.error is None else str(failed.error)
    summary = (
        f"{finding.partition} offset {finding.offset}: {quoted(finding.value)} was read by process {ops[-1].process} by "
        f"{seconds(ops[-1].time)}, although its send had certainly failed ({why})"
    )
    writing = place.writing(finding.partition, finding.value)
    beats = [] if writing is None else sent(place, finding.partition, finding.value, writing, None)
    return _explained(place, finding, summary, beats + _reading(place, finding, ops), ops)


def phantom_read(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    why = "before anybody sent it" if finding.detail["early"] else "although nobody ever sent it"
    summary = (
        f"{finding.partition} offset {finding.offset}: process {ops[-1].process} read {quoted(finding.value)} by "
        f"{seconds(ops[-1].time)}, {why}"
    )
    writing = place.writing(finding.partition, finding.value)
    beats = [] if writing is None else sent(place, finding.partition, finding.value, writing, None)
    return _explained(place, finding, summary, beats + _reading(place, finding, ops), ops)


def _reading(place: Scene, finding: Finding, ops: list[Op]) -> list[Beat]:
    reading = place.operation(ops[-1].index)
    text = f"process {ops[-1].process} reads {quoted(finding.value)} at offset {finding.offset}"
    return [] if reading is None else [read(reading, text)]


def lso_stuck(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    high_watermark = finding.detail["high_watermark"]
    summary = (
        f"{finding.partition}: the last stable offset stays at {finding.offset}, below the high watermark "
        f"{high_watermark}: a transaction never ends"
    )
    reading = place.operation(ops[-1].index)
    text = f"the final read ends at offset {finding.offset}, and the log at {high_watermark}"
    beats = [] if reading is None else [read(reading, text)]
    return _explained(place, finding, summary, beats, ops)


def _explained(place: Scene, finding: Finding, summary: str, beats: list[Beat], ops: list[Op]) -> Explanation:
    start = min([op.time for op in ops] + [beat.moment.time for beat in beats])
    end = max(op.time for op in ops)
    beats = [
        *beats,
        *fault_beats(place.faults, start, end, concerned=place.replicas(finding.partition).nodes),
        *partition_beats(place, finding.partition, start, end, offset=finding.offset),
    ]
    return Explanation(summary=summary, beats=beats, start=start, end=end)
