"""Checker `delivery`: whoever processes a log has processed every record, as often as it says.

    poll    with a `group`: what one reader of that group was given; a group's readers resume from its offsets
    sink    the ok's `position`: how far a pipeline had come when nothing was left
    rows    the ok's value: [partition, offset, value] of everything in the database in the end

What stands in the log is known from the final read (checker `log` judges the log itself). A group is as far as the
last record that it was given, a database as far as the last `position`; below that nothing may be missing. Readers of
a group repeat records after a crash, by design; a database claims to hold each once. Where a reader of a group begins is
no lower than what the group had acknowledged (`checkers.forgotten_offsets`). What retention removed before a
reader came to it is lost to that reader, and the configuration's doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.forgotten_offsets import may_expire, regressions
from checkers.log.observations import Observations, Partition, observe
from checkers.violations import Violation, answer, blamed, quoted
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation, Process
from harness.results import Anomaly, Blame, Result

NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Processor:
    """A group, or the database: what it was given, how far it is, and who said so, by partition."""

    name: str
    once: bool
    given: dict[tuple[str, Any], list[Operation]] = field(default_factory=dict)
    unsure: int = 0
    """Polls of which nobody knows what they were given."""
    offsets: dict[tuple[str, Any], int] = field(default_factory=dict)
    position: dict[str, tuple[int, Operation]] = field(default_factory=dict)

    def take(self, partition: str, offset: int, value: Any, operation: Operation) -> None:
        self.given.setdefault((partition, freeze(value)), []).append(operation)
        self.offsets.setdefault((partition, freeze(value)), offset)

    def reach(self, partition: str, offset: int, operation: Operation) -> None:
        if offset >= self.position.get(partition, (0, operation))[0]:
            self.position[partition] = (offset, operation)


class DeliveryChecker:
    description = (
        "every record of a log is processed: by each group at least once, by a database exactly once"
    )
    anomalies: Mapping[str, str] = {
        "consume-lost": "a record that stands in the log, or did until retention took it, was never processed",
        "consume-duplicate": "a record stands in the database more than once",
        "offset-regression": "the group's committed offset is lower than one that was acknowledged before",
        "phantom-read": "something was processed that nobody had sent",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        seen = observe(history, str(context.config.get("isolation.level", "read_committed")))
        processors = collect(history.operations)
        found: list[Violation] = []
        doubts: list[str] = []
        out_of: dict[tuple[str, str], tuple[int, str]] = {}
        for processor in processors:
            missing, doubt = _missing(seen, processor)
            found += missing + _repeated(processor) + _unknown(seen, processor)
            doubts += [] if doubt is None else [doubt]
            for name in ("consume-lost", "consume-duplicate"):
                out_of[name, processor.name] = len(processor.given) + len(missing), "records"
        found += regressions(history.operations)
        if not any(processor.given for processor in processors):
            doubts.insert(0, f"0 records were processed by {len(processors)} groups or databases")
        result = answer(
            "delivery",
            history,
            context,
            found,
            doubt=doubts[0] if doubts else None,
            measures=_measures(history.operations, processors),
            out_of=out_of,
        )
        return _blamed(result, context, forgets=may_expire(history, context.config))


def collect(operations: Iterable[Operation]) -> list[Processor]:
    """Groups by name, then the database."""
    groups: dict[str, Processor] = {}
    database = Processor("the database", once=True)
    groups_of: dict[Process, Processor] = {}
    unsure: list[Operation] = []
    for operation in operations:
        completion = operation.completion
        if completion is None or completion.type == "info":
            unsure += [operation] if operation.f == "poll" else []
            continue
        group = completion.extra.get("group")
        if operation.f == "poll" and group is not None and completion.type == "ok":
            reader = groups.setdefault(str(group), Processor(f"group {group}", once=False))
            for partition, offset, value in completion.value or ():
                reader.take(str(partition), int(offset), value, operation)
                reader.reach(str(partition), int(offset) + 1, operation)
            groups_of[operation.process] = reader
        elif operation.f == "sink" and completion.type == "ok":
            for partition, offset in completion.extra.get("position") or ():
                database.reach(str(partition), int(offset), operation)
        elif operation.f == "rows" and completion.type == "ok":
            database.given, database.offsets = {}, {}
            for partition, offset, value in completion.value or ():
                database.take(str(partition), int(offset), value, operation)
    for operation in unsure:
        own = groups_of.get(operation.process)
        for reader in [own] if own is not None else groups.values():
            reader.unsure += 1
    used = [database] if database.position or database.given else []
    return [*(groups[name] for name in sorted(groups)), *used]


def _missing(seen: Observations, processor: Processor) -> tuple[list[Violation], str | None]:
    """And why some that are missing are not proven lost."""
    found: list[Violation] = []
    doubt: str | None = None
    if processor.once and not processor.given:
        return [], f"the rows of the database were never read, of {len(processor.position)} partitions"
    for name, partition in sorted(seen.partitions.items()):
        acknowledged = sum(outcome == "ok" for outcome in partition.writes.outcome)
        if partition.final is None:
            if acknowledged:
                doubt = doubt or f"{name}, with {acknowledged} acknowledged records, was not read to its end"
            continue
        position, operation = processor.position.get(name, (0, None))
        behind = [offset for offset in partition.final.values if offset >= position]
        if behind:
            doubt = doubt or f"{processor.name} came to offset {position} of {partition.final.end} in {name}"
        if operation is not None:
            for offset, value in partition.final.values.items():
                if offset < position and (name, freeze(value)) not in processor.given:
                    found.append(_lost(seen, processor, partition, offset, value, operation, removed=False))
            found += _removed(seen, processor, partition, operation)
    if found and processor.unsure:
        return [], (
            f"{processor.name} was never seen to be given {len(found)} records, but {processor.unsure} of its polls with "
            "unknown outcome may have had them"
        )
    return found, doubt


def _removed(
    seen: Observations, processor: Processor, partition: Partition, operation: Operation
) -> list[Violation]:
    """Rule 7 (semantics 1c): what lies below the log's start was removed on purpose and is no lost write; who had
    not come to it never will."""
    final, writes = partition.final, partition.writes
    assert final is not None
    return [
        _lost(seen, processor, partition, offset, writes.value[row], operation, removed=True)
        for row, offset in enumerate(writes.offset)
        if offset is not None
        and offset < final.log_start
        and writes.outcome[row] == "ok"
        and (partition.name, freeze(writes.value[row])) not in processor.given
    ]


def _lost(
    seen: Observations,
    processor: Processor,
    partition: Partition,
    offset: int,
    value: Any,
    operation: Operation,
    *,
    removed: bool,
) -> Violation:
    rows = partition.writers.get(value, [])
    writer = [seen.operations[partition.writes.operation[rows[0]]]] if rows else []
    final = partition.final
    assert final is not None
    beyond = f"which had come to offset {processor.position[partition.name][0]}"
    why = f"was never given it: retention had removed it, the log begins at {final.log_start}"
    return Violation(
        name="consume-lost",
        where=processor.name,
        sentence=(
            f"{quoted(value)} stood at offset {offset} of {partition.name}, but {processor.name}, {beyond}, "
            f"{why if removed else 'never processed it'}"
        ),
        operations=(*writer, operation),
        value=value,
    )


def _repeated(processor: Processor) -> list[Violation]:
    if not processor.once:
        return []
    return [
        Violation(
            name="consume-duplicate",
            where=processor.name,
            sentence=f"{quoted(value)} of {partition} stands there {len(takes)} times",
            operations=(takes[0],),
            value=value,
        )
        for (partition, value), takes in processor.given.items()
        if len(takes) > 1
    ]


def _unknown(seen: Observations, processor: Processor) -> list[Violation]:
    """Judged for the database; what a poll must not show is checker `log`'s."""
    if not processor.once:
        return []
    return [
        Violation(
            name="phantom-read",
            where=processor.name,
            sentence=f"{quoted(value)} stands there, but nobody sent it to {partition}",
            operations=(takes[0],),
            value=value,
        )
        for (partition, value), takes in processor.given.items()
        if partition not in seen.partitions or value not in seen.partitions[partition].writers
    ]


def _blamed(result: Result, context: CheckContext, *, forgets: bool) -> Result:
    """Retention is the configuration's; how the sink is written, the workload's. A mutant is the server's anyway."""
    if context.bugs:
        return result
    plain = context.config.get("sink.mode") == "insert"

    def whose(anomaly: Anomaly) -> Blame | None:
        name, summary = anomaly.name, anomaly.summary
        if name == "consume-lost" and "retention had removed it" in summary:
            return Blame.CONFIGURATION
        if name == "offset-regression" and forgets and "committed nothing" in summary:
            return Blame.CONFIGURATION
        return Blame.WORKLOAD if name == "consume-duplicate" and plain else None

    return blamed(result, whose)


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────


def _measures(operations: Iterable[Operation], processors: list[Processor]) -> dict[str, Any]:
    every = list(operations)
    return {
        "processed": {p.name: sum(map(len, p.given.values())) for p in processors},
        "repeated": {p.name: sum(len(takes) - 1 for takes in p.given.values()) for p in processors},
        "most_lag": _most_lag(every),
        "send_p95_ms": _send_latency(every),
    }


def _most_lag(operations: list[Operation]) -> dict[str, int]:
    """By group, the most records that had been acknowledged and that it had not been given, when it polled."""
    ends: dict[str, int] = {}
    stood: dict[tuple[str, str], int] = {}
    most: dict[str, int] = {}
    events = sorted(
        (o for o in operations if o.outcome == "ok"), key=lambda o: o.completion.index if o.completion else 0
    )
    for operation in events:
        assert operation.completion is not None
        extra, value = operation.completion.extra, operation.completion.value
        if operation.f == "send" and extra.get("offset") is not None:
            name = str(operation.invoke.key)
            ends[name] = max(ends.get(name, 0), int(extra["offset"]) + 1)
        elif operation.f == "poll" and extra.get("group") is not None:
            group = str(extra["group"])
            for name, offset, _ in value or ():
                stood[group, str(name)] = max(stood.get((group, str(name)), 0), int(offset) + 1)
            lag = sum(max(0, end - stood.get((group, name), 0)) for name, end in ends.items())
            most[f"group {group}"] = max(most.get(f"group {group}", 0), lag)
    return dict(sorted(most.items()))


def _send_latency(operations: list[Operation]) -> dict[str, float | None]:
    """Of the sends of each half of the run: a producer that feels its readers is slower in the second."""
    sends = [o for o in operations if o.f == "send" and o.outcome == "ok" and o.end is not None]
    half = len(sends) // 2
    return {
        name: _p95_ms([(o.end or 0) - o.start for o in part])
        for name, part in (("first_half", sends[:half]), ("second_half", sends[half:]))
    }


def _p95_ms(latencies: list[int]) -> float | None:
    if not latencies:
        return None
    return round(sorted(latencies)[int(0.95 * (len(latencies) - 1))] / NS_PER_MS, 3)
