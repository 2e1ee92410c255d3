"""The skew of a keyed load: bars in proportion, and nothing that a damaged result could break."""

from __future__ import annotations

from typing import Any

import pytest

from reports.skew import skew


def result(**measures: Any) -> list[dict[str, Any]]:
    return [{"checker": "log", "measures": {}}, {"checker": "skew", "measures": measures}]


def test_bars_are_in_proportion_and_the_smallest_can_be_seen() -> None:
    shown = skew(
        result(
            partitions={
                "clicks/0": {"records": 1000, "most_lag": 400},
                "clicks/1": {"records": 500, "most_lag": 0},
                "clicks/2": {"records": 1, "most_lag": 100},
                "clicks/3": {"records": 0, "most_lag": 0},
            },
            records_judged_for_order=200,
            out_of_order=30,
        )
    )
    assert shown is not None
    assert [(row.records_width, row.lag_width) for row in shown.rows] == [
        (100.0, 100.0),
        (50.0, 0.0),
        (0.5, 25.0),
        (0.0, 0.0),
    ]
    assert shown.mean_at == 37.52
    assert shown.sentence == (
        "The fullest partition has 2.66 times the mean. Of 200 records whose place in the order of their key is "
        "known, 30 (15.0 %) were processed before one that was sent earlier."
    )


@pytest.mark.parametrize(
    "measures", [{}, {"partitions": None}, {"partitions": {}}, {"partitions": {"clicks/0": 3}}]
)
def test_without_measures_there_is_no_plot(measures: dict[str, Any]) -> None:
    assert skew(result(**measures)) is None
    assert skew([]) is None


def test_nothing_acknowledged() -> None:
    shown = skew(result(partitions={"clicks/0": {"records": "many", "most_lag": -1}}))
    assert shown is not None
    assert shown.sentence == "No record was acknowledged."
    assert shown.rows[0].records_width == 0
