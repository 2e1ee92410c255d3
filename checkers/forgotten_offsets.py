"""`offset-regression` of readers that nobody hands partitions to: a group tells one where to begin, and forgets.

    sink   `resumed`: where the group had it begin, by partition (0: it had committed nothing);
           `commits`: what it committed, as `offsets`, with its `outcome`: ok or unknown

Where a reader is told to begin is no lower than any commit that was acknowledged before it asked, unless somebody set it
back: a reader that hangs commits what it had read long ago when it wakes, and nothing fences it. Only a commit of
that very offset that had not ended when the acknowledged one began can be such a one; one that timed out may arrive
at any time after it was sent. A reader that was lost sight of may have committed anything it had not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from checkers.violations import Violation
from harness.history import History
from harness.ops import Operation

NS_PER_MINUTE = 60_000_000_000


class _Commit(msgspec.Struct, frozen=True):
    offset: int
    outcome: str
    operation: Operation

    @property
    def over(self) -> int | None:
        """The event after which it cannot take effect any more."""
        completion = self.operation.completion
        return None if self.outcome != "ok" or completion is None else completion.index


def regressions(operations: Iterable[Operation]) -> list[Violation]:
    """One for each partition of a beginning that is too low."""
    commits: dict[str, list[_Commit]] = {}
    fetches: list[tuple[str, int, Operation]] = []
    untold: list[Operation] = []
    for operation in operations:
        if operation.f != "sink":
            continue
        extra = {} if operation.completion is None else operation.completion.extra
        lost_sight_of = operation.outcome == "info" and "commits" not in extra and "resumed" not in extra
        untold += [operation] if lost_sight_of else []
        fetches += [(str(p), int(offset), operation) for p, offset in extra.get("resumed", ())]
        for commit in extra.get("commits", ()):
            for partition, offset in commit["offsets"]:
                commits.setdefault(str(partition), []).append(
                    _Commit(int(offset), str(commit["outcome"]), operation)
                )
    return [
        violation
        for partition, offset, operation in fetches
        if (violation := _too_low(partition, offset, operation, commits.get(partition, ()), untold))
    ]


def may_expire(history: History, config: Mapping[str, Any]) -> bool:
    """Are offsets kept for less than the run took? Then a group that nobody was in may have been told to forget."""
    kept_minutes = config.get("offsets.retention.minutes")
    return kept_minutes is not None and float(kept_minutes) * NS_PER_MINUTE < history.ops[-1].time


def _too_low(
    partition: str, offset: int, fetch: Operation, commits: Iterable[_Commit], untold: Iterable[Operation]
) -> Violation | None:
    asked = fetch.invoke.index
    before = [c for c in commits if c.over is not None and c.over < asked and c.offset > offset]
    if not before:
        return None
    highest = max(before, key=lambda commit: commit.offset)
    begun = highest.operation.invoke.index
    set_back = any(c.offset == offset and (c.over is None or c.over > begun) for c in commits)
    # Whatever one of them committed was above what the group began with.
    if set_back or (offset > 0 and any(o.invoke.index < asked for o in untold)):
        return None
    had = "nothing" if offset == 0 else f"offset {offset}"
    return Violation(
        name="offset-regression",
        where=partition,
        sentence=(
            f"process {fetch.process} was told that the group had committed {had}, although offset {highest.offset} had "
            f"been acknowledged to process {highest.operation.process}"
        ),
        operations=(highest.operation, fetch),
        value=offset,
    )
