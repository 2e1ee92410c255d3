"""Records that were there and are gone: what clients know of it, and how it came about as far as nodes said."""

from __future__ import annotations

from typing import Any

from checkers.findings import Explanation, Finding
from checkers.log.cause import cause, meanwhile
from checkers.log.observations import Value
from checkers.log.replicas import Loss
from checkers.log.scene import (
    Scene,
    answered_by,
    final_extent,
    final_read,
    partition_beats,
    read,
    sent,
    when_done,
)
from checkers.narrative import names, quoted, seconds
from checkers.story import Beat, fault_beats
from harness.ops import Op, Operation


def lost(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """`lost-write`."""
    name, value, offset = finding.partition, finding.value, finding.offset
    writing = place.writing(name, value)
    assert writing is not None, "a loss is of a record that was written"
    loss = _loss(place, name, offset, writing.start, _done(writing))
    instead = _instead(place, name, offset, value)
    if finding.detail["final"]:
        found = place.seen.partitions[name]
        gone = f"{instead} and {quoted(value)} nowhere" if instead else f"does not have {quoted(value)}"
        proof = final_read(place, name, offset, gone)
        proven = f"the final read ({final_extent(found)}) does not have it"
    else:
        proof = _passed(place, ops[-1], finding)
        proven = f"process {ops[-1].process} read on beyond it by {seconds(ops[-1].time)} and did not get it"
    if "retention_ms" in finding.detail:
        age_s, limit_s = (finding.detail[key] / 1000 for key in ("removed_within_ms", "retention_ms"))
        proven = (
            f"retention removed it within {age_s:.1f} s, although log.retention.ms gives it {limit_s:g} s"
        )
    replicas = place.replicas(name)
    who = f" by {node}" if (node := answered_by(replicas, writing, loss)) is not None else ""
    told = f"acknowledged to process {writing.process}{who} at {when_done(writing)}"
    if loss is None:
        summary = f"{_at(finding)}: {quoted(value)}, {told}, is lost: {proven}"
    else:
        told += meanwhile(loss, replicas, place.faults, _done(writing))
        only = f"was on {loss.holder} only and is lost" if loss.only else "is lost"
        summary = f"{_at(finding)}: {quoted(value)}, {told}, {only}: {cause(loss, replicas, place.faults, writing.start)}"
    beats = [*sent(place, name, value, writing, loss), *proof]
    beats += _overwriting(place, name, value, offset)
    return _explained(place, finding, summary, beats, writing.start, loss, _done(writing))


def unseen(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    name, value = finding.partition, finding.value
    writing = place.writing(name, value)
    assert writing is not None, "what was never seen was written"
    summary = (
        f"{_at(finding)}: {quoted(value)}, acknowledged to process {writing.process} at {when_done(writing)}, was never "
        "read: lost or late"
    )
    beats = sent(place, name, value, writing, None)
    if place.seen.partitions[name].final is not None:
        beats += final_read(place, name, None, f"does not have {quoted(value)}")
    return _explained(place, finding, summary, beats, writing.start, None, _done(writing))


def vanished(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """`vanished-read`."""
    name, value, offset = finding.partition, finding.value, finding.offset
    assert offset is not None
    reading = place.operation(finding.detail["read"])
    assert reading is not None
    writing = place.writing(name, value)
    start = reading.start if writing is None else writing.start
    known = _done(reading)
    stood = _done(writing) if writing is not None and writing.outcome == "ok" else known
    loss = _loss(place, name, offset, start, min(stood, known))
    instead = finding.detail["instead"]
    now = (
        f"the log ends at {finding.detail['end']}"
        if offset >= finding.detail["end"]
        else f"{quoted(instead)} stands there"
        if instead is not None
        else "nothing stands there"
    )
    tail = "" if loss is None else f": {cause(loss, place.replicas(name), place.faults, start)}"
    summary = (
        f"{_at(finding)}: process {reading.process} read {quoted(value)} by {seconds(known)}, and in the end {now}"
        f"{tail}"
    )
    beats = [] if writing is None else sent(place, name, value, writing, loss)
    beats.append(read(reading, f"process {reading.process} reads {quoted(value)} at offset {offset}"))
    beats += final_read(place, name, offset, f"shows that {now}")
    beats += _overwriting(place, name, value, offset)
    return _explained(place, finding, summary, beats, start, loss, min(stood, known))


def inconsistent(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """`inconsistent-offsets`: told from the value that did not stay, where one did."""
    name, offset = finding.partition, finding.offset
    assert offset is not None
    final = place.seen.partitions[name].final
    stayed = final.values.get(offset) if final is not None else None
    writings = {v: w for v in finding.detail["values"] if (w := place.writing(name, v)) is not None}
    values: list[Value] = sorted(
        finding.detail["values"], key=lambda v: _done(writings[v]) if v in writings else ops[-1].time
    )
    gone = next((v for v in values if v != stayed), values[0])
    seen_as: list[str] = []
    beats: list[Beat] = []
    first = writings.get(gone)
    start = min([w.start for w in writings.values()] or [op.time for op in ops])
    shown = None
    if first is not None:
        shown = (
            first if _acknowledged_at(place, name, gone, offset) else _first_read(place, name, offset, gone)
        )
    known = _done(shown) if shown is not None else ops[-1].time
    loss = _loss(place, name, offset, first.start, known) if first is not None and shown is not None else None
    for value in values:
        writing = writings.get(value)
        own = loss if value == gone else None
        acknowledged = writing is not None and _acknowledged_at(place, name, value, offset)
        if writing is not None:
            beats += sent(place, name, value, writing, own)
        if writing is not None and acknowledged:
            node = answered_by(place.replicas(name), writing, own)
            by = f" by {node}" if node is not None else ""
            seen_as.append(
                f"{quoted(value)} (acknowledged to process {writing.process}{by} at {when_done(writing)})"
            )
            continue
        reading = _first_read(place, name, offset, value)
        if reading is None:
            seen_as.append(quoted(value))
            continue
        seen_as.append(f"{quoted(value)} (read by process {reading.process} at {when_done(reading)})")
        text = f"process {reading.process} reads {quoted(value)} at offset {offset}"
        beats.append(read(reading, text))
    tail = "" if loss is None else f": {cause(loss, place.replicas(name), place.faults, start)}"
    summary = f"{_at(finding)} was seen with different values, {names(seen_as)}{tail}"
    if stayed is not None:
        beats += final_read(place, name, offset, f"has {quoted(stayed)} at offset {offset}")
    return _explained(place, finding, summary, beats, start, loss, known, end=ops[-1].time)


def sent_back(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """`nonmonotonic-poll`."""
    name, expected = finding.partition, finding.detail["expected"]
    back = place.operation(ops[-1].index)
    before = place.operation(ops[0].index)
    assert back is not None
    assert before is not None
    loss = _loss(place, name, expected - 1, before.start, _done(before)) if before is not back else None
    if loss is not None and loss.takeover.time > _done(back):
        loss = None
    tail = "" if loss is None else f": {cause(loss, place.replicas(name), place.faults, _done(before))}"
    summary = (
        f"{name}: process {back.process}, due at offset {expected}, was sent back to {quoted(finding.value)} at "
        f"{finding.offset} at {when_done(back)}{tail}"
    )
    beats = []
    if before is not back:
        beats.append(
            read(
                before,
                f"process {before.process} has read {name} up to offset {expected - 1}: it is due at {expected}",
            )
        )
    text = f"process {back.process} asks on from {expected} and is given {quoted(finding.value)} at {finding.offset}"
    beats.append(read(back, text))
    return _explained(
        place,
        finding,
        summary,
        beats,
        _done(before),
        loss,
        _done(before),
        offset=expected - 1,
        end=_done(back),
    )


def end_offset_shrank(place: Scene, finding: Finding, ops: list[Op]) -> Explanation:
    """`nonmonotonic-end-offset`."""
    name, before = finding.partition, finding.detail["before"]
    asked = ops[0]
    loss = _loss(place, name, before - 1, asked.time, asked.time)
    tail = "" if loss is None else f": {cause(loss, place.replicas(name), place.faults, asked.time)}"
    summary = (
        f"{name}: after the heal its end offset is {finding.offset}, although {before} had been answered to process "
        f"{asked.process} at {seconds(asked.time)}{tail}"
    )
    beats: list[Beat] = []
    for op, text in (
        (asked, f"process {asked.process} is told that {name} ends at offset {before}"),
        (ops[-1], f"process {ops[-1].process} is told that {name} ends at offset {finding.offset}"),
    ):
        operation = place.operation(op.index)
        if operation is not None:
            beats.append(read(operation, text))
    return _explained(place, finding, summary, beats, asked.time, loss, asked.time, offset=before - 1)


def _at(finding: Finding) -> str:
    return finding.partition if finding.offset is None else f"{finding.partition} offset {finding.offset}"


def _done(operation: Operation) -> int:
    return operation.invoke.time if operation.completion is None else operation.completion.time


def _loss(place: Scene, partition: str, offset: int | None, sent_at: int, known: int) -> Loss | None:
    return None if offset is None else place.replicas(partition).loss(offset, sent_at, known)


def _instead(place: Scene, partition: str, offset: int | None, value: Value) -> str | None:
    final = place.seen.partitions[partition].final
    if final is None or offset is None or offset not in final.values:
        return None
    return f"has {quoted(final.values[offset])} at offset {offset}"


def _passed(place: Scene, poll: Op, finding: Finding) -> list[Beat]:
    operation = place.operation(poll.index)
    text = (
        f"process {poll.process} reads {finding.partition} on beyond offset {finding.offset}, without "
        f"{quoted(finding.value)}"
    )
    return [] if operation is None else [read(operation, text)]


def _acknowledged_at(place: Scene, partition: str, value: Value, offset: int) -> bool:
    found = place.seen.partitions[partition]
    return any(found.writes.offset[row] == offset for row in found.writers.get(value, []))


def _first_read(place: Scene, partition: str, offset: int, value: Value) -> Operation | None:
    reads = place.seen.partitions[partition].reads
    for at, what, position in zip(reads.offset, reads.value, reads.operation, strict=True):
        if at == offset and what == value:
            return place.seen.operations[position]
    return None


def _overwriting(place: Scene, partition: str, value: Value, offset: int | None) -> list[Beat]:
    """The acknowledgement of another record at the same offset."""
    if offset is None:
        return []
    found = place.seen.partitions[partition]
    beats: list[Beat] = []
    for row, at in enumerate(found.writes.offset):
        if at != offset or found.writes.value[row] == value:
            continue
        writing = place.seen.operations[found.writes.operation[row]]
        other, node = quoted(found.writes.value[row]), answered_by(place.replicas(partition), writing)
        to = f"to process {writing.process}"
        text = (
            f"another record, {other}, is acknowledged at offset {offset} {to}"
            if node is None
            else f"{node} acknowledges another record, {other}, at offset {offset} {to}"
        )
        beats.append(read(writing, text, node))
    return beats


def _explained(
    place: Scene,
    finding: Finding,
    summary: str,
    beats: list[Beat],
    start: int,
    loss: Loss | None,
    known: int,
    *,
    offset: int | None = None,
    end: int | None = None,
) -> Explanation:
    """With the partition's events and the faults of the time that it is about: from the record's sending to its
    loss, or to `end`, or else to the last moment that clients know of."""
    offset = finding.offset if offset is None else offset
    replicas = place.replicas(finding.partition)
    last = max([beat.moment.time for beat in beats] or [known])
    until = loss.over if loss is not None else last if end is None else end
    concerned = replicas.nodes
    decisive = [] if loss is None else [loss.holder, loss.takeover.node]
    beats = [
        *beats,
        *fault_beats(place.faults, start, until, concerned=concerned, decisive=decisive),
        *partition_beats(place, finding.partition, start, until, loss=loss, offset=offset),
    ]
    data: dict[str, Any] = {}
    if replicas.nodes and offset is not None:
        data["replicas"] = {
            "partition": finding.partition,
            "offset": offset,
            "rows": replicas.steps(offset, loss, known, until),
        }
    return Explanation(summary=summary, beats=beats, start=start, end=until, data=data)
