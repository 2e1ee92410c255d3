"""Partitions without an owner: strips over the time of the run, and nothing where nothing was measured."""

from __future__ import annotations

from typing import Any

from reports.ownership import MOST_ROWS, Mark, ownership


def results(**measures: Any) -> list[dict[str, Any]]:
    return [{"checker": "log", "measures": {}}, {"checker": "group", "measures": measures}]


SUMS = {"e/0": {"share": 0.25, "longest_ms": 1_500.0, "times": 2}}


def test_a_strip_for_each_partition() -> None:
    shown = ownership(
        results(without_an_owner=SUMS, pauses_without_an_owner={"e/0": [[0.0, 500.0], [2_000.0, 3_500.0]]}),
        10_000_000,
    )
    assert shown is not None
    [strip] = shown.strips
    assert (strip.name, strip.share, strip.longest_ms, strip.times) == ("e/0", 25.0, 1_500.0, 2)
    assert strip.marks == [Mark(0.0, 50.0), Mark(200.0, 150.0)]
    assert (shown.seconds, shown.more) == (10.0, 0)


def test_many_partitions_are_counted_and_not_all_shown() -> None:
    many = {f"e/{n}": SUMS["e/0"] for n in range(MOST_ROWS + 3)}
    shown = ownership(results(without_an_owner=many, pauses_without_an_owner={}), 10_000_000)
    assert shown is not None
    assert (len(shown.strips), shown.more) == (MOST_ROWS, 3)


def test_nothing_where_nothing_was_measured_or_can_be_read() -> None:
    assert ownership([], 10_000_000) is None
    assert ownership(results(without_an_owner={}, pauses_without_an_owner={}), 10_000_000) is None
    assert ownership(results(without_an_owner={"e/0": 3}, pauses_without_an_owner={}), 10_000_000) is None
    assert ownership(results(without_an_owner=SUMS, pauses_without_an_owner={}), 0) is None
