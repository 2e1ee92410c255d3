"""`poll-skip` and `nonmonotonic-poll`: a member goes from record to record of a partition as long as it has it.

It begins where it says it does (`resumed`), and each poll goes on behind the one before. Across a rebalance anything may
happen (rule 5, semantics 1c): then the member says again where it begins. What lies between is known from the final
read: a gap in the offsets alone proves nothing (rule 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checkers.group.turns import Turn
from checkers.log.observations import Observations, shown
from checkers.violations import Violation, quoted
from harness.ops import Operation, Process


def jumps(turns: Sequence[Turn], seen: Observations) -> list[Violation]:
    found: list[Violation] = []
    by_process: dict[Process, list[Turn]] = {}
    for turn in turns:
        by_process.setdefault(turn.process, []).append(turn)
    offsets = {name: sorted(p.final.values) for name, p in seen.partitions.items() if p.final is not None}
    for of_process in by_process.values():
        found += _of(of_process, seen, offsets)
    return found


def _of(turns: Sequence[Turn], seen: Observations, offsets: Mapping[str, Sequence[int]]) -> list[Violation]:
    found: list[Violation] = []
    stands: dict[str, tuple[int, Operation]] = {}
    for turn in turns:
        stands = {p: at for p, at in stands.items() if p in turn.assigned}
        for resumed in turn.resumed:
            stands[resumed.partition] = resumed.position, turn.operation
        if turn.operation.outcome != "ok" or turn.operation.completion is None:
            stands = {}
            continue
        by_partition: dict[str, list[int]] = {}
        for partition, offset, _ in turn.records:
            by_partition.setdefault(partition, []).append(offset)
        for partition, polled in by_partition.items():
            if partition in stands:
                position, before = stands[partition]
                found += _between(seen, offsets.get(partition, ()), partition, position, polled, before, turn)
            stands[partition] = polled[-1] + 1, turn.operation
        if turn.operation.completion.extra.get("rebalanced"):
            stands = {}
        for commit in turn.commits:
            if commit.outcome != "ok":
                # It may have gone back to read again what it could not commit.
                stands.pop(commit.partition, None)
    return found


def _between(
    seen: Observations,
    known: Sequence[int],
    partition: str,
    position: int,
    polled: list[int],
    before: Operation,
    turn: Turn,
) -> list[Violation]:
    got = frozenset(polled)
    operations = (before, turn.operation) if before is not turn.operation else (turn.operation,)
    if polled[0] < position or polled != sorted(polled):
        return [
            Violation(
                name="nonmonotonic-poll",
                where=partition,
                sentence=f"process {turn.process} stood at offset {position} and was given offset {min(polled)}",
                operations=operations,
                value=polled[0],
            )
        ]
    final = seen.partitions[partition].final if partition in seen.partitions else None
    skipped = [o for o in known if position <= o < polled[-1] and o not in got]
    if final is None or not skipped:
        return []
    return [
        Violation(
            name="poll-skip",
            where=partition,
            sentence=(
                f"process {turn.process} stood at offset {position} and was given what stands at {polled[0]} to "
                f"{polled[-1]}, but never {quoted(shown(final.values[skipped[0]]))} at {skipped[0]}"
            ),
            operations=operations,
            value=skipped[0],
        )
    ]
