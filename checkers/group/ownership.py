"""`dual-ownership`: a partition belongs to two members at once, by the group's own word.

Two members were given it in the same generation; or a commit of an older generation was accepted after one of a
younger generation had been acknowledged. A static member's successor takes up its place in the same generation: from then
on the predecessor is fenced, and no commit of its is accepted. That a member which was thrown out goes on processing for a while is no
violation: nobody can take back what it does, and it owns nothing. It is one where the application takes ownership for a
lock (`group.lock`), which it is not: only a store that compares generations keeps a former owner out.

A group that was forgotten as a whole begins again with generation 1: what was before says nothing of what comes after. That
it was, a member shows that is told of no committed offset although one had been acknowledged (`offset-regression`).
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.group.turns import Commit, Effect, Store, Turn, ended_before
from checkers.violations import Violation


def shared_generations(turns: Sequence[Turn]) -> list[Violation]:
    """One for each partition and generation that two members were given."""
    since = _last_forgotten(turns)
    given: dict[tuple[str, int], Turn] = {}
    found: list[Violation] = []
    told: set[tuple[str, int]] = set()
    for turn in turns:
        if not turn.member or turn.generation < 0 or turn.operation.invoke.index < since:
            continue
        for partition in turn.assigned:
            grant = partition, turn.generation
            first = given.setdefault(grant, turn)
            if turn.instance is not None and turn.instance == first.instance:
                continue
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
    since = _last_forgotten(turns)
    by_partition: dict[str, list[Commit]] = {}
    for turn in turns:
        for commit in turn.commits:
            counts = commit.generation >= 0 and turn.operation.invoke.index >= since
            if commit.outcome == "ok" and counts:
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


def fenced_instances(turns: Sequence[Turn]) -> list[Violation]:
    """Commits of a static member that were accepted although a turn of its successor had ended before they began."""
    by_instance: dict[str, list[Turn]] = {}
    for turn in turns:
        if turn.instance is not None and turn.member and turn.operation.outcome == "ok":
            by_instance.setdefault(turn.instance, []).append(turn)
    found: list[Violation] = []
    for instance, of_instance in sorted(by_instance.items()):
        first: dict[str, Turn] = {}
        for turn in sorted(
            of_instance, key=lambda t: t.operation.completion.index if t.operation.completion else 0
        ):
            first.setdefault(turn.member, turn)
        order = list(first)
        for turn in of_instance:
            successors = [first[member] for member in order[order.index(turn.member) + 1 :]]
            late = [s for s in successors if ended_before(s.operation, turn.operation)]
            for commit in [c for c in turn.commits if c.outcome == "ok"] if late else []:
                found.append(
                    Violation(
                        name="dual-ownership",
                        where=commit.partition,
                        sentence=(
                            f"process {turn.process} committed offset {commit.offset} as {instance}, although process "
                            f"{late[0].process} had taken up that place before"
                        ),
                        operations=(late[0].operation, turn.operation),
                        value=commit.offset,
                    )
                )
    return found


def late_effects(store: Store) -> list[Violation]:
    """Of an application that takes ownership for a lock: what a former owner did after its successor had begun. One for
    each partition and generation."""
    if store.operation is None:
        return []
    youngest: dict[str, Effect] = {}
    found: dict[tuple[str, int], Violation] = {}
    for effect in store.effects:
        if effect.generation is None:
            continue
        before = youngest.setdefault(effect.partition, effect)
        if before.generation is None or effect.generation >= before.generation:
            youngest[effect.partition] = effect
            continue
        sentence = (
            f"process {effect.process} worked on offset {effect.offset} as its owner in generation {effect.generation}, although "
            f"process {before.process} had worked on offset {before.offset} in generation {before.generation} before: nothing "
            "fenced it"
        )
        found.setdefault(
            (effect.partition, effect.generation),
            Violation(
                name="dual-ownership",
                where=effect.partition,
                sentence=sentence,
                operations=(store.operation,),
                value=effect.offset,
            ),
        )
    return list(found.values())


def _last_forgotten(turns: Sequence[Turn]) -> int:
    """Where the last turn began that found the group forgotten; -1 where none did."""
    acknowledged: dict[str, int] = {}
    for turn in turns:
        for commit in turn.commits:
            if commit.outcome == "ok":
                acknowledged[commit.partition] = min(
                    _end(commit), acknowledged.get(commit.partition, _end(commit))
                )
    found = [
        turn.operation.invoke.index
        for turn in turns
        for fetch in turn.resumed
        if fetch.committed is None
        and fetch.partition in acknowledged
        and acknowledged[fetch.partition] < turn.operation.invoke.index
    ]
    return max(found, default=-1)


def _end(commit: Commit) -> int:
    completion = commit.operation.completion
    assert completion is not None, "an acknowledged commit is told by its turn's completion"
    return completion.index
