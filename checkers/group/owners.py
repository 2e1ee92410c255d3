"""How long partitions were without an owner while the load lasted, by their members' own word (`moves`).

A partition is somebody's from when a member was given it until it was taken away, or that member was seen for the last time: its
process died or left. Eager rebalances revoke everything from everybody; cooperative ones only what moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checkers.group.turns import Turn
from harness.ops import Process

NS_PER_MS = 1_000_000
MOST_PAUSES = 200

Span = tuple[float, float]


def without_an_owner(turns: Sequence[Turn]) -> dict[str, dict[str, float]]:
    """By partition, after it had its first owner: the share of that time, the longest pause, and how many there were."""
    found: dict[str, dict[str, float]] = {}
    for partition, (whole_ms, pauses) in _pauses(turns).items():
        lengths = [end - begin for begin, end in pauses]
        found[partition] = {
            "share": round(sum(lengths) / whole_ms, 4),
            "longest_ms": round(max(lengths, default=0.0), 1),
            "times": len(lengths),
        }
    return found


def longest_pauses(turns: Sequence[Turn]) -> dict[str, list[list[float]]]:
    """By partition, from when to when it had no owner, in milliseconds: the `MOST_PAUSES` longest, in order of time."""
    return {
        partition: [
            [round(begin, 1), round(end, 1)]
            for begin, end in sorted(sorted(pauses, key=lambda p: p[0] - p[1])[:MOST_PAUSES])
        ]
        for partition, (_, pauses) in _pauses(turns).items()
    }


def _pauses(turns: Sequence[Turn]) -> dict[str, tuple[float, list[Span]]]:
    """By partition, how long it could have had owners, and when it had none."""
    load = [turn for turn in turns if turn.operation.invoke.extra.get("plan") != "drain"]
    until_ms = max((_over_ms(turn) for turn in load), default=0.0)
    return {
        partition: (until_ms - spans[0][0], gaps(spans, until_ms))
        for partition, spans in sorted(owned(load, until_ms).items())
        if until_ms > spans[0][0]
    }


def owned(turns: Sequence[Turn], until_ms: float) -> dict[str, list[Span]]:
    """By partition, the spans in which a member had it, in order of their beginning."""
    by_process: dict[Process, list[Turn]] = {}
    for turn in turns:
        by_process.setdefault(turn.process, []).append(turn)
    spans: dict[str, list[Span]] = {}
    for of_process in by_process.values():
        for partition, span in _of_member(of_process, until_ms):
            spans.setdefault(partition, []).append(span)
    return {partition: sorted(found) for partition, found in spans.items()}


def gaps(spans: Sequence[Span], until_ms: float) -> list[Span]:
    """Between what was owned by anybody, and behind the last owner."""
    reached, found = spans[0][0], []
    for begin, end in (*spans, (until_ms, until_ms)):
        if begin > reached:
            found.append((reached, begin))
        reached = max(reached, end)
    return found


def _of_member(turns: Sequence[Turn], until_ms: float) -> Iterator[tuple[str, Span]]:
    since: dict[str, float] = {}
    for turn in turns:
        for at_ms, sign, partitions in turn.moves:
            for partition in partitions:
                if sign == "+":
                    since.setdefault(partition, at_ms)
                elif partition in since:
                    yield partition, (since.pop(partition), at_ms)
    last = turns[-1]
    lives = last.operation.outcome == "ok" and last.lives
    end_ms = until_ms if lives else _over_ms(last)
    for partition, begin in since.items():
        yield partition, (begin, max(begin, end_ms))


def _over_ms(turn: Turn) -> float:
    """When it was over, as far as its process is concerned."""
    completion = turn.operation.completion
    return (turn.operation.start if completion is None else completion.time) / NS_PER_MS
