"""The picture of a dependency cycle: boxes with what matters, an arrow an edge, and nothing that is not JSON of ours."""

from __future__ import annotations

from typing import Any

import pytest

from reports.cycles import MOST_TRANSACTIONS, cycle_picture


def cycle(*names: str, kind: str = "rw") -> dict[str, Any]:
    return {
        "cycle": [
            {"from": a, "to": b, "kind": kind, "key": "x", "why": f"{a} is before {b}"}
            for a, b in zip(names, [*names[1:], names[0]], strict=True)
        ],
        "transactions": [
            {
                "name": name,
                "process": at,
                "outcome": "ok",
                "operations": [["r", "x", [1, 2]], ["append", "y", 3]],
            }
            for at, name in enumerate(names)
        ],
    }


@pytest.mark.parametrize("count", [2, 3, 4, 5, MOST_TRANSACTIONS])
def test_boxes_do_not_overlap_and_every_edge_joins_two_of_them(count: int) -> None:
    picture = cycle_picture(cycle(*(f"T{n}" for n in range(count))))
    assert picture is not None
    assert len(picture.boxes) == len(picture.arrows) == count
    for at, a in enumerate(picture.boxes):
        assert a.x >= 0
        assert a.x + a.width <= picture.width
        assert a.y + a.height <= picture.height
        for b in picture.boxes[at + 1 :]:
            apart_x = a.x + a.width <= b.x or b.x + b.width <= a.x
            apart_y = a.y + a.height <= b.y or b.y + b.height <= a.y
            assert apart_x or apart_y


def test_what_is_not_on_a_key_of_the_cycle_is_counted() -> None:
    picture = cycle_picture(cycle("T1", "T2"))
    assert picture is not None
    assert [line.text for line in picture.boxes[0].lines] == ["read x = [1 2]", "and 1 more"]
    assert picture.arrows[0].label == "rw x"
    assert picture.arrows[0].means == "did not see"
    assert picture.sentences == ["T1 is before T2", "T2 is before T1"]


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"cycle": []},
        {"cycle": "no"},
        {"cycle": [{"from": "T1"}], "transactions": []},
        {**cycle("T1", "T2"), "transactions": []},
        cycle(*(f"T{n}" for n in range(MOST_TRANSACTIONS + 1))),
    ],
)
def test_what_has_not_the_expected_shape_is_no_picture(data: Any) -> None:
    assert cycle_picture(data) is None
