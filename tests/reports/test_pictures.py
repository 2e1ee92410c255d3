"""Pictures made from what checkers give, and nothing made from what is none; values in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from reports.html import code
from reports.pictures import InputPicture, InputRow, ReplicaCell, ReplicaRow, input_picture, replica_picture

TOLD: dict[str, Any] = {
    "replicas": {
        "partition": "orders/0",
        "offset": 17,
        "rows": [
            {
                "node": "b1",
                "told": [
                    {"time": 1_000_000, "what": "held", "has": True},
                    {"time": 3_000_000, "what": "truncated", "was": 18, "end": 17, "has": False},
                ],
            },
            {
                "node": "b2",
                "told": [{"time": 2_000_000, "what": "elected", "epoch": 4, "end": 17, "has": False}],
            },
            {
                "node": "b3",
                "told": [
                    {
                        "time": 2_000_000,
                        "what": "elected",
                        "epoch": 5,
                        "end": 30,
                        "parted": 12,
                        "has": False,
                    },
                    {"time": 3_000_000, "what": "elected", "epoch": 6, "end": 30, "has": None},
                ],
            },
        ],
    }
}


def test_each_replica_is_a_row_and_each_time_a_column() -> None:
    found = replica_picture(TOLD)
    assert found is not None
    assert found.times == [1_000, 2_000, 3_000]
    nothing = ReplicaCell("", "")
    assert found.rows == [
        ReplicaRow(
            "b1",
            [
                ReplicaCell("has it", "has"),
                nothing,
                ReplicaCell("truncates 18 to 17", "removed"),
            ],
        ),
        ReplicaRow("b2", [nothing, ReplicaCell("leads epoch 4, its log ends at 17", "lacks"), nothing]),
        ReplicaRow(
            "b3",
            [
                nothing,
                ReplicaCell("leads epoch 5, its log is another one from 12 on", "lacks"),
                ReplicaCell("leads epoch 6, its log ends at 30", ""),
            ],
        ),
    ]


def test_an_input_with_the_transactions_that_took_it() -> None:
    data = {
        "inputs": {
            "partition": "input/0",
            "offset": 3,
            "value": "7:0",
            "transactions": [
                {
                    "txn": "3.0",
                    "process": 3,
                    "op": 12,
                    "time": 5_000,
                    "fate": "committed",
                    "outputs": [["output/0", 9]],
                },
                {
                    "txn": "4.0",
                    "process": None,
                    "op": None,
                    "time": None,
                    "fate": "unknown",
                    "outputs": [],
                },
            ],
        }
    }
    assert input_picture(data) == InputPicture(
        "input/0",
        3,
        "7:0",
        [
            InputRow("3.0", "3", 12, 5, "committed", ["output/0 offset 9"]),
            InputRow("4.0", "", None, None, "unknown", []),
        ],
        1,
    )


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        {},
        {"replicas": 3, "inputs": []},
        {
            "replicas": {"partition": "o/0", "offset": "x", "rows": []},
            "inputs": {"transactions": [{"txn": 1}]},
        },
        {"replicas": {"partition": "o/0", "offset": 1, "rows": [{"node": "b1", "told": []}]}},
    ],
)
def test_what_has_another_shape_is_no_picture(data: Any) -> None:
    assert replica_picture(data) is None
    assert input_picture(data) is None


@pytest.mark.parametrize(
    ("sentence", "markup"),
    [
        ("orders/0: `3:42` is lost", "orders/0: <code>3:42</code> is lost"),
        ("`<b>` & `x`", "<code>&lt;b&gt;</code> &amp; <code>x</code>"),
        ("one ` alone <i>", "one ` alone &lt;i&gt;"),
        ("", ""),
    ],
)
def test_values_in_sentences_are_set_apart_and_stay_text(sentence: str, markup: str) -> None:
    assert code(sentence) == markup
