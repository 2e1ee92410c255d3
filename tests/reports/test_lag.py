"""The lag of consumers: against what was acknowledged, per group, and nothing where nobody consumes."""

from __future__ import annotations

from typing import Any

from harness.history import History, HistoryWriter
from reports.faults import Band
from reports.lag import HEIGHT, WIDTH, lag


def history(*operations: tuple[str, dict[str, Any]]) -> History:
    now = iter(range(0, 10_000_000_000, 1_000_000))
    writer = HistoryWriter(None, lambda: next(now))
    for process, (f, fields) in enumerate(operations):
        writer.append(process, "invoke", f, key=fields.get("key"))
        extra = {k: v for k, v in fields.items() if k not in ("key", "value")}
        writer.append(process, "ok", f, key=fields.get("key"), value=fields.get("value"), extra=extra)
    return writer.history()


SENDS: tuple[tuple[str, dict[str, Any]], ...] = tuple(
    ("send", {"key": "e/0", "value": f"0:{n}", "offset": n}) for n in range(4)
)


def test_a_group_is_behind_by_what_it_was_not_given() -> None:
    polls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("poll", {"group": "g", "value": [["e/0", 0, "0:0"]]}),
        ("consume", {"value": [["e/0", 0, "0:0"], ["e/0", 1, "0:1"], ["e/0", 2, "0:2"], ["e/0", 3, "0:3"]]}),
    )
    shown = lag(history(*SENDS, *polls).operations, [], 12_000)
    assert shown is not None
    assert {line.name: (line.most, line.last) for line in shown.lines} == {
        "group g": (3, 3),
        "the group": (0, 0),
    }
    assert shown.top == 3
    assert shown.lines[0].points == f"{9 * WIDTH / 12:.1f},0.0"


def test_sends_after_a_poll_grow_it_and_faults_are_shaded() -> None:
    given = ("poll", {"group": "g", "value": [["e/0", 3, "0:3"]]})
    late = ("send", {"key": "e/0", "value": "0:9", "offset": 9})
    band = Band(0, "kill", "b1", 5_000, 10_000, ["b1"], [], "b1")
    shown = lag(history(*SENDS, given, late).operations, [band], 20_000)
    assert shown is not None
    assert [(line.most, line.last) for line in shown.lines] == [(6, 6)]
    assert shown.lines[0].points.endswith("0.0")
    assert f",{HEIGHT:.1f}" in shown.lines[0].points
    assert [(shade.x, shade.width) for shade in shown.shades] == [(250.0, 250.0)]


def test_a_transaction_that_was_not_committed_gives_nothing() -> None:
    inputs = {"inputs": [["e/0", 3, "0:3"]], "outputs": []}
    aborted = ("transfer", {"value": inputs, "outcome": "aborted"})
    committed = ("transfer", {"value": inputs, "outcome": "committed"})
    shown = lag(history(*SENDS, aborted, committed).operations, [], 20_000)
    assert shown is not None
    assert [(line.name, line.most, line.last) for line in shown.lines] == [("the pipelines", 4, 0)]


def test_nothing_is_drawn_where_nobody_consumes() -> None:
    assert lag(history(*SENDS).operations, [], 20_000) is None
    assert lag(history(("consume", {"value": []})).operations, [], 20_000) is None
