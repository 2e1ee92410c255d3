"""`offset-regression`: the group's coordinator forgets, or goes back behind, what it has acknowledged.

What a fetch returns is no lower than any commit that was acknowledged before the fetch began. A commit of unknown outcome
is the exception: it may arrive late, over a connection that was given up, and set the offset back to its own; then
the group goes on from there, and what was acknowledged before counts no more. Only such a commit of that very offset
explains it, begun before the fetch ended. A turn that was lost sight of may have committed anything it had read.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.group.turns import Commit, Resumed, Turn, ended_before
from checkers.violations import Violation


def regressions(turns: Sequence[Turn]) -> list[Violation]:
    """One for each fetch that is too low."""
    found: list[Violation] = []
    partitions = dict.fromkeys(r.partition for turn in turns for r in turn.resumed)
    for partition in sorted(partitions):
        found += _in(partition, turns)
    return found


def _in(partition: str, turns: Sequence[Turn]) -> list[Violation]:
    acknowledged = [c for t in turns for c in t.commits if c.partition == partition and c.outcome == "ok"]
    unknown = [c for t in turns for c in t.commits if c.partition == partition and c.outcome == "unknown"]
    untold = [t for t in turns if not t.told]
    fetches = sorted(
        (r for t in turns for r in t.resumed if r.partition == partition),
        key=lambda r: r.operation.invoke.index,
    )
    acknowledged.sort(key=lambda c: _end(c))
    found: list[Violation] = []
    place = 0
    bound: Commit | None = None
    for fetch in fetches:
        while place < len(acknowledged) and _end(acknowledged[place]) < fetch.operation.invoke.index:
            if bound is None or acknowledged[place].offset > bound.offset:
                bound = acknowledged[place]
            place += 1
        if bound is None or (fetch.committed is not None and fetch.committed >= bound.offset):
            continue
        if not _explained(fetch, unknown, untold):
            found.append(_violation(bound, fetch))
        # What was acknowledged is gone, whoever's fault it is: the group goes on from here.
        bound = None
    return found


def _end(commit: Commit) -> int:
    completion = commit.operation.completion
    assert completion is not None, "an acknowledged commit is told by its turn's completion"
    return completion.index


def _explained(fetch: Resumed, unknown: Sequence[Commit], untold: Sequence[Turn]) -> bool:
    if fetch.committed is None:
        return False
    late = any(
        commit.offset == fetch.committed and not ended_before(fetch.operation, commit.operation)
        for commit in unknown
    )
    return late or any(not ended_before(fetch.operation, turn.operation) for turn in untold)


def _violation(bound: Commit, fetch: Resumed) -> Violation:
    had = "nothing" if fetch.committed is None else f"offset {fetch.committed}"
    return Violation(
        name="offset-regression",
        where=fetch.partition,
        sentence=(
            f"process {fetch.operation.process} was told that the group had committed {had}, although offset "
            f"{bound.offset} had been acknowledged to process {bound.operation.process}"
        ),
        operations=(bound.operation, fetch.operation),
        value=fetch.committed,
    )
