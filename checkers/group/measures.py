"""What a group costs: rebalances, idle members, repeated work, and how long partitions were without anybody at work."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from checkers.group.owners import longest_pauses, without_an_owner
from checkers.group.turns import Store, Turn

NS_PER_MS = 1_000_000


def measures(turns: Sequence[Turn], store: Store) -> dict[str, Any]:
    done = len({(e.partition, e.offset, e.value) for e in store.effects})
    commits = [commit.outcome for turn in turns for commit in turn.commits]
    return {
        "processed": done,
        "repeated": len(store.effects) - done,
        "turns": len(turns),
        "commits": {outcome: commits.count(outcome) for outcome in ("ok", "refused", "unknown")},
        "generations": len({turn.generation for turn in turns if turn.generation >= 0}),
        "members": len({turn.member for turn in turns if turn.member}),
        "idle_turns": sum(
            turn.operation.outcome == "ok" and turn.generation >= 0 and not turn.assigned for turn in turns
        ),
        "without_a_reader": without_a_reader(turns),
        "without_an_owner": without_an_owner(turns),
        "pauses_without_an_owner": longest_pauses(turns),
    }


def without_a_reader(turns: Sequence[Turn]) -> dict[str, dict[str, float]]:
    """By partition, the pauses between two turns in which somebody was given records of it while the load lasted: how
    long the longest was, and how long a record that arrives at a random moment waits on average, in milliseconds. Eager
    rebalances revoke everything from everybody; cooperative ones only what moves."""
    given: dict[str, list[int]] = {}
    for turn in turns:
        if turn.operation.end is not None and turn.operation.invoke.extra.get("plan") != "drain":
            for partition in dict.fromkeys(p for p, _, _ in turn.records):
                given.setdefault(partition, []).append(turn.operation.end)
    found: dict[str, dict[str, float]] = {}
    for partition, times in sorted(given.items()):
        times.sort()
        pauses = [(after - before) / NS_PER_MS for before, after in pairwise(times)]
        whole = sum(pauses)
        if whole > 0:
            expected = sum(pause * pause for pause in pauses) / whole / 2
            found[partition] = {"longest_ms": round(max(pauses), 1), "expected_wait_ms": round(expected, 1)}
    return found
