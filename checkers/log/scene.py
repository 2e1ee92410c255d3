"""Where an anomaly of the log happened: the operations about a record, the replicas of its partition, the faults.

Its functions make the beats of a story: what clients did and were told, and by which node as far as that is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checkers.log.observations import Observations, Partition, Value
from checkers.log.replicas import Loss, Replicas, replay
from checkers.narrative import event_sentence, quoted, seconds
from checkers.outages import Outage, outages
from checkers.story import COLOUR, ESSENTIAL, TELLING, Beat
from harness.checker import CheckContext
from harness.node import NodeEvent
from harness.ops import Operation
from harness.results import Moment

UNTOLD = frozenset({"follower", "duplicate-recognised", "late-request"})
"""Events of a partition that say nothing by themselves."""
ELECTIONS = frozenset({"leader-elected", "elr-elected", "unclean-elected", "recovered", "leader-lost"})


@dataclass(slots=True)
class Scene:
    seen: Observations
    context: CheckContext
    faults: list[Outage]
    _replicas: dict[str, Replicas] = field(default_factory=dict)
    _by_index: dict[int, Operation] = field(default_factory=dict)

    def replicas(self, partition: str) -> Replicas:
        found = self._replicas.get(partition)
        if found is None:
            found = replay(self.context.events, partition, self.faults, trusted=not self.context.bugs)
            self._replicas[partition] = found
        return found

    def writing(self, partition: str, value: Value) -> Operation | None:
        """The first operation that wrote it, an acknowledged one before others."""
        found = self.seen.partitions.get(partition)
        rows = found.writers.get(value, []) if found is not None else []
        if found is None or not rows:
            return None
        row = min(rows, key=lambda r: found.writes.outcome[r] != "ok")
        return self.seen.operations[found.writes.operation[row]]

    def operation(self, index: int) -> Operation | None:
        """By the history index of either of its events."""
        if not self._by_index:
            for operation in self.seen.operations:
                self._by_index[operation.invoke.index] = operation
                if operation.completion is not None:
                    self._by_index[operation.completion.index] = operation
        return self._by_index.get(index)


def scene(seen: Observations, context: CheckContext) -> Scene:
    return Scene(seen, context, outages(seen.history))


def answered_by(replicas: Replicas, operation: Operation, loss: Loss | None = None) -> str | None:
    """The leader that answered; None where that is not known for certain."""
    if loss is not None:
        return loss.holder
    if operation.completion is None:
        return None
    leader = replicas.leader_at(operation.start, operation.completion.time)
    return None if leader is None else leader.node


def sent(place: Scene, partition: str, value: Value, operation: Operation, loss: Loss | None) -> list[Beat]:
    """What became of a send, or of a transaction's output: two moments."""
    invoke, completion = operation.invoke, operation.completion
    replicas = place.replicas(partition)
    node = answered_by(replicas, operation, loss)
    many = isinstance(invoke.value, list) and len(invoke.value) > 1
    what = f"{len(invoke.value)} records, among them {quoted(value)}" if many else quoted(value)
    by = "sends" if operation.f == "send" else f"({operation.f}) writes"
    beats = [
        Beat(
            Moment(
                invoke.time,
                f"process {operation.process} {by} {what} to {partition}",
                op=invoke.index,
                node=node,
            )
        )
    ]
    if completion is None:
        return beats
    offset = acknowledged_offset(place, partition, value)
    at = "" if offset is None else f" at offset {offset}"
    match completion.type:
        case "ok" if node is not None:
            leader = replicas.leader_at(operation.start, completion.time)
            epoch = loss.epoch if loss is not None else leader.epoch if leader is not None else None
            role = f", leader of epoch {epoch}," if epoch is not None else ""
            text = f"{node}{role} acknowledges {quoted(value)}{at} to process {operation.process}"
        case "ok":
            text = f"{quoted(value)} is acknowledged{at} to process {operation.process}"
        case "fail":
            text = f"process {operation.process} is told that {quoted(value)} was not written{_why(completion.error)}"
        case _:
            text = f"process {operation.process} never learns whether {quoted(value)} was written{_why(completion.error)}"
    beats.append(Beat(Moment(completion.time, text, op=completion.index, node=node)))
    return beats


def _why(error: object) -> str:
    return "" if error is None else f" ({error})"


def acknowledged_offset(place: Scene, partition: str, value: Value) -> int | None:
    found = place.seen.partitions.get(partition)
    if found is None:
        return None
    offsets = [found.writes.offset[row] for row in found.writers.get(value, [])]
    return next((offset for offset in offsets if offset is not None), None)


def read(operation: Operation, text: str, node: str | None = None, weight: int = ESSENTIAL) -> Beat:
    """What an operation's answer shows."""
    op = operation.completion if operation.completion is not None else operation.invoke
    return Beat(Moment(op.time, text, op=op.index, node=node), weight)


def final_read(place: Scene, partition: str, offset: int | None, text: str) -> list[Beat]:
    """The part of the final read that passed the offset; where that is not known, its last part."""
    found = place.seen.partitions.get(partition)
    if found is None or found.final is None:
        return []
    operation = place.seen.operations[found.final.operation_at(place.seen, offset)]
    return [read(operation, f"the final read of {partition} ({final_extent(found)}) {text}")]


def final_extent(partition: Partition) -> str:
    final = partition.final
    assert final is not None
    count = len(final.values)
    return f"{count:,} record{'' if count == 1 else 's'}, to its end offset {final.end}"


def partition_beats(
    place: Scene, partition: str, start: int, end: int, *, loss: Loss | None = None, offset: int | None = None
) -> list[Beat]:
    """What the nodes said of the partition between two times."""
    replicas = place.replicas(partition)
    by_controller = {
        e.fields.get("partition_epoch") for e in replicas.events if e.kind == "partition-changed"
    }
    beats: list[Beat] = []
    for event in replicas.events:
        if not start <= event.time <= end:
            continue
        weight = _weight(event, loss, offset)
        if weight is None:
            continue
        if event.kind.startswith("isr-") and event.fields.get("partition_epoch") in by_controller:
            continue
        beats.append(Beat(Moment(event.time, _told(event, loss, offset), node=event.node), weight))
    return beats


def _weight(event: NodeEvent, loss: Loss | None, offset: int | None) -> int | None:
    """None for what is not told."""
    fields = event.fields
    takeover = loss is not None and fields.get("leader_epoch") == loss.takeover.epoch
    match event.kind:
        case "leader-elected":
            return ESSENTIAL if takeover else TELLING
        case "partition-changed" if fields.get("reason") in ELECTIONS:
            return ESSENTIAL if takeover and fields.get("reason") == "unclean-elected" else TELLING
        case "truncated":
            removes = offset is not None and fields.get("end", 0) <= offset < fields.get("was", 0)
            return ESSENTIAL if removes else TELLING
        case "duplicate-recognised" if offset is not None and fields.get("offset") == offset:
            return ESSENTIAL
        case kind if kind in UNTOLD:
            return None
        case "partition-changed" | "isr-shrunk" | "isr-expanded":
            return COLOUR
        case _:
            return TELLING


def _told(event: NodeEvent, loss: Loss | None, offset: int | None) -> str:
    """With what it means for the record in question."""
    text = event_sentence(event)
    if offset is None:
        return text
    if loss is not None and event.kind == "leader-elected":
        takeover = loss.takeover
        if event.node == takeover.node and event.fields.get("leader_epoch") == takeover.epoch:
            if takeover.start <= offset:
                return f"{text}: it has nothing at {offset}"
            return f"{text}, but from {loss.parted} on it is another log than that of {loss.holder}"
    if event.kind == "truncated" and event.fields.get("end", 0) <= offset < event.fields.get("was", 0):
        return f"{text}: what stood at {offset} is gone from it"
    return text


def when_done(operation: Operation) -> str:
    op = operation.completion if operation.completion is not None else operation.invoke
    return seconds(op.time)
