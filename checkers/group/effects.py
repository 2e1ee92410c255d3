"""`consume-lost`, `consume-duplicate` and `phantom-read`: what became of each record, in the group's store of effects.

A record is lost once the group has come past it in the end: a member that had its partition found nothing left to read
(`position`). What stands in the log is known from the final read.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.group.turns import Effect, Store, Turn
from checkers.log.observations import Observations, Partition, Value, shown
from checkers.violations import Violation, quoted
from harness.ops import Operation


def lost(turns: Sequence[Turn], store: Store, seen: Observations) -> tuple[list[Violation], list[str]]:
    """And why some of what is missing is not proven lost."""
    if store.operation is None:
        return [], [
            f"the group's effects were never read to their end, after {len(turns)} turns of its members"
        ]
    # By value, too: after a truncation an offset holds another record than the one that was processed.
    done = {(e.partition, e.offset, e.value) for e in store.effects}
    came_to = _reached(turns)
    found: list[Violation] = []
    doubts: list[str] = []
    for name, partition in sorted(seen.partitions.items()):
        final = partition.final
        if final is None:
            acknowledged = sum(outcome == "ok" for outcome in partition.writes.outcome)
            if acknowledged:
                doubts.append(f"{name}, with {acknowledged} acknowledged records, was not read to its end")
            continue
        position, operation = came_to.get(name, (0, None))
        if any(offset >= position for offset in final.values):
            doubts.append(f"the group came to offset {position} of {final.end} in {name}")
        if operation is None:
            continue
        found += [
            _lost(
                seen,
                partition,
                offset,
                value,
                position,
                store,
                operation,
                last=_last_who_had(turns, name, offset, value),
            )
            for offset, value in final.values.items()
            if offset < position and (name, offset, value) not in done
        ]
        # Below the log's start (rule 7): removed on purpose, and who had not come to it never will.
        found += [
            _lost(
                seen,
                partition,
                offset,
                partition.writes.value[row],
                position,
                store,
                operation,
                last=None,
                removed=final.log_start,
            )
            for row, offset in enumerate(partition.writes.offset)
            if offset is not None
            and offset < final.log_start
            and partition.writes.outcome[row] == "ok"
            and (name, offset, partition.writes.value[row]) not in done
        ]
    return found, doubts


def duplicates(store: Store) -> list[Violation]:
    if store.operation is None:
        return []
    times: dict[tuple[str, int, Value], list[Effect]] = {}
    for effect in store.effects:
        times.setdefault((effect.partition, effect.offset, effect.value), []).append(effect)
    return [
        Violation(
            name="consume-duplicate",
            where=partition,
            sentence=f"{quoted(shown(effects[0].value))} at offset {offset} was processed {len(effects)} times{_by(effects)}",
            operations=(store.operation,),
            value=offset,
        )
        for (partition, offset, _), effects in times.items()
        if len(effects) > 1
    ]


def phantoms(store: Store, seen: Observations) -> list[Violation]:
    if store.operation is None:
        return []
    return [
        Violation(
            name="phantom-read",
            where=effect.partition,
            sentence=f"{quoted(shown(effect.value))} was processed, but nobody sent it there",
            operations=(store.operation,),
            value=effect.value,
        )
        for effect in store.effects
        if effect.partition not in seen.partitions
        or effect.value not in seen.partitions[effect.partition].writers
    ]


def _reached(turns: Sequence[Turn]) -> dict[str, tuple[int, Operation]]:
    reached: dict[str, tuple[int, Operation]] = {}
    for turn in turns:
        for partition, offset in turn.position:
            if offset >= reached.get(partition, (0, turn.operation))[0]:
                reached[partition] = offset, turn.operation
    return reached


def _last_who_had(turns: Sequence[Turn], partition: str, offset: int, value: Value) -> Operation | None:
    """The last turn in which somebody was given the record."""
    record = partition, offset, value
    had = [t.operation for t in turns if record in t.records]
    return had[-1] if had else None


def _lost(
    seen: Observations,
    partition: Partition,
    offset: int,
    value: Value,
    position: int,
    store: Store,
    operation: Operation,
    *,
    last: Operation | None,
    removed: int | None = None,
) -> Violation:
    rows = partition.writers.get(value, [])
    writer = [seen.operations[partition.writes.operation[rows[0]]]] if rows else []
    if removed is not None:
        why = f"was never processed: retention had removed it, the log begins at {removed}"
    elif last is None:
        why = f"was given to nobody, although the group had come to offset {position}"
    else:
        why = f"was given to process {last.process} and never processed, although the group had come to offset {position}"
    assert store.operation is not None
    return Violation(
        name="consume-lost",
        where=partition.name,
        sentence=f"{quoted(shown(value))} at offset {offset} {why}",
        operations=(*writer, *(() if last is None else (last,)), operation, store.operation),
        value=value,
    )


def _by(effects: Sequence[Effect]) -> str:
    who = [str(effect.process) for effect in effects if effect.process is not None]
    return f", by processes {', '.join(who)}" if who else ""
