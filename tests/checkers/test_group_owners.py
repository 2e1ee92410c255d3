"""Time without an owner: between what one member gave up and the next was given, and after a death."""

from __future__ import annotations

from typing import Any

from checkers.group.measures import measures
from checkers.group.owners import gaps, owned, without_an_owner
from checkers.group.turns import Store, Turn, turns
from harness.history import HistoryWriter

MS = 1_000_000


def history(*told: tuple[int, int, int, str, dict[str, Any]]) -> list[Turn]:
    """Of (process, begins at ms, ends at ms, outcome, what the turn says)."""
    events = sorted(
        event
        for number, (process, begin, end, _, _) in enumerate(told)
        for event in ((begin, 0, number, process), (end, 1, number, process))
    )
    clock = iter([time * MS for time, _, _, _ in events])
    writer = HistoryWriter(None, lambda: next(clock))
    for _, ends, number, process in events:
        _, _, _, outcome, extra = told[number]
        if ends:
            writer.append(process, outcome, "consume", value=[], extra={"plan": "work", **extra})  # type: ignore[arg-type]
        else:
            writer.append(process, "invoke", "consume", extra={"plan": "work"})
    return turns(writer.history().operations)


def moves(*what: tuple[float, str, str]) -> dict[str, Any]:
    return {"moves": [[at, sign, [partition]] for at, sign, partition in what]}


def test_between_two_owners_and_behind_the_last_one() -> None:
    found = history(
        (1, 0, 400, "ok", moves((100.0, "+", "e/0"), (300.0, "-", "e/0"))),
        (2, 0, 600, "ok", moves((500.0, "+", "e/0"))),
        (2, 601, 1_100, "ok", {"left": True}),
        (1, 401, 1_300, "ok", {}),
    )
    assert owned(found, 1_300.0) == {"e/0": [(100.0, 300.0), (500.0, 1_100.0)]}
    assert without_an_owner(found) == {
        "e/0": {"share": round(400 / 1_200, 4), "longest_ms": 200.0, "times": 2}
    }


def test_who_died_owns_nothing_and_who_lives_owns_to_the_end() -> None:
    found = history(
        (1, 0, 200, "ok", moves((100.0, "+", "e/0"), (100.0, "+", "e/1"))),
        (1, 201, 500, "info", {}),
        (2, 0, 900, "ok", moves((800.0, "+", "e/0"))),
        (2, 901, 1_000, "ok", {}),
    )
    told = without_an_owner(found)
    assert told["e/0"] == {"share": round(300 / 900, 4), "longest_ms": 300.0, "times": 1}
    assert told["e/1"] == {"share": round(500 / 900, 4), "longest_ms": 500.0, "times": 1}


def test_two_at_once_leave_no_gap() -> None:
    assert gaps([(0.0, 10.0), (2.0, 4.0), (9.0, 12.0)], 12.0) == []
    assert gaps([(0.0, 1.0), (2.0, 4.0)], 12.0) == [(1.0, 2.0), (4.0, 12.0)]


def test_a_history_that_tells_no_moves_measures_none() -> None:
    found = measures(history((1, 0, 400, "ok", {})), Store((), None))
    assert (found["without_an_owner"], found["pauses_without_an_owner"]) == ({}, {})
