"""`dual-ownership`: a partition belongs to two members at once, by the group's own word.

Two members were given it in the same generation; or a commit of an older generation was accepted after one of a
younger generation had been acknowledged. That a member which was thrown out goes on processing for a while is no
violation: nobody can take back what it does, and it owns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.group.turns import Commit, Turn
from checkers.violations import Violation


def shared_generations(turns: Sequence[Turn]) -> list[Violation]:
    """One for each partition and generation that two members were given."""
    given: dict[tuple[str, int], Turn] = {}
    found: list[Violation] = []
    told: set[tuple[str, int]] = set()
    for turn in turns:
        if not turn.member or turn.generation < 0:
            continue
        for partition in turn.assigned:
            grant = partition, turn.generation
            first = given.setdefault(grant, turn)
            if first.member != turn.member and grant not in told:
                told.add(grant)
                found.append(
                    Violation(
                        name="dual-ownership",
                        where=partition,
                        sentence=(
                            f"in generation {turn.generation} it belonged to process {first.process} and to process "
                            f"{turn.process}"
                        ),
                        operations=(first.operation, turn.operation),
                        value=turn.generation,
                    )
                )
    return found


def late_commits(turns: Sequence[Turn]) -> list[Violation]:
    """Commits that were accepted although a younger generation had committed before they were begun."""
    by_partition: dict[str, list[Commit]] = {}
    for turn in turns:
        for commit in turn.commits:
            if commit.outcome == "ok" and commit.generation >= 0:
                by_partition.setdefault(commit.partition, []).append(commit)
    found: list[Violation] = []
    for partition, commits in sorted(by_partition.items()):
        done = sorted(commits, key=_end)
        place = 0
        youngest: Commit | None = None
        for commit in sorted(commits, key=lambda c: c.operation.invoke.index):
            while place < len(done) and _end(done[place]) < commit.operation.invoke.index:
                if youngest is None or done[place].generation > youngest.generation:
                    youngest = done[place]
                place += 1
            if youngest is not None and commit.generation < youngest.generation:
                found.append(
                    Violation(
                        name="dual-ownership",
                        where=partition,
                        sentence=(
                            f"process {commit.operation.process} committed offset {commit.offset} as a member of "
                            f"generation {commit.generation}, although process {youngest.operation.process} had "
                            f"committed {youngest.offset} in generation {youngest.generation} before"
                        ),
                        operations=(youngest.operation, commit.operation),
                        value=commit.offset,
                    )
                )
    return found


def _end(commit: Commit) -> int:
    completion = commit.operation.completion
    assert completion is not None, "an acknowledged commit is told by its turn's completion"
    return completion.index
