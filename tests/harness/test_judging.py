"""The guards of the judge: when silence means nothing, and what survives a broken checker."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checker import CheckContext
from harness.history import History
from harness.judge import RunResult, fault_windows, judge
from harness.ops import Op
from harness.results import Verdict
from harness.runner import Problem

pytestmark = pytest.mark.usefixtures("toy")

SEEN = list(range(20))


class Story:
    """Writes a history line by line; `time` goes up by one millisecond a line."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def say(self, process: int | str, type: Any, f: str, value: Any = None) -> Story:
        index = len(self.ops)
        self.ops.append(Op(index=index, time=index * 1_000_000, process=process, type=type, f=f, value=value))
        return self

    def adds(self, count: int, outcome: str = "ok") -> Story:
        for i in range(count):
            process = len(self.ops) + 1_000 if outcome == "info" else 0
            self.say(process, "invoke", "add", i).say(process, outcome, "add")
        return self

    def read(self, values: list[int]) -> Story:
        return self.say(1, "invoke", "read").say(1, "ok", "read", values)

    def fault(self, f: str, position: int = 0, *, verified: bool | None = True, type: str = "ok") -> Story:
        value = {"fault": position, "selector": "n1", "targets": ["n1"], "verified": verified}
        return self.say("nemesis", "invoke", f, value).say("nemesis", type, f, value)

    def judged(self, *, scheduled: int | None = None, checkers: tuple[str, ...] = ("bag-set",)) -> RunResult:
        return judge(History(self.ops), CheckContext(), checkers, scheduled=scheduled)


def test_a_good_history_is_valid() -> None:
    result = Story().adds(20).read(list(range(20))).judged()
    assert result.verdict is Verdict.VALID
    assert result.ops == {"ok": 21, "fail": 0, "info": 0}


def test_too_few_successes_are_unknown_with_the_number() -> None:
    result = Story().adds(4).read([0, 1, 2, 3]).judged()
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason == "only 5 of 5 operations succeeded"


def test_a_kind_of_operation_that_never_succeeds_is_unknown() -> None:
    story = Story()
    for _ in range(20):
        story.read(list(range(25)))
    result = story.adds(25, "info").judged()
    assert result.reason == "none of 25 'add' operations succeeded"


def test_a_proven_anomaly_is_invalid_however_thin_the_history() -> None:
    result = Story().adds(2).read([0]).judged()
    assert result.verdict is Verdict.INVALID
    assert [a.name for a in result.anomalies] == ["lost-write"]


def test_a_fault_that_overlaps_operations_counts() -> None:
    story = Story().adds(5).fault("kill").adds(5).fault("restart").adds(5).read(list(range(5)))
    result = story.judged(scheduled=1)
    assert result.verdict is Verdict.VALID
    assert result.faults == {"scheduled": 1, "fired": 1, "bitten": 1, "overlapping": 1}


def test_an_operation_open_over_a_fault_overlaps_it() -> None:
    story = Story().adds(15).say(3, "invoke", "add", 99).fault("kill").fault("restart").say(3, "ok", "add")
    assert story.read([*range(15), 99]).judged(scheduled=1).faults["overlapping"] == 1


@pytest.mark.parametrize(
    ("story", "scheduled", "reason"),
    [
        (Story().adds(20).read(SEEN), 0, "the nemesis scheduled no fault"),
        (Story().adds(20).read(SEEN), 3, "none of 3 scheduled faults is known to have taken effect"),
        (Story().fault("kill", verified=None).adds(20).read(SEEN), 1, "none of 1 scheduled faults is known"),
        (Story().fault("kill", type="fail").adds(20).read(SEEN), 1, "none of 1 scheduled faults is known"),
        (Story().fault("crash-at").adds(20).read(SEEN), 1, "none of 1 scheduled faults is known"),
        (
            Story().adds(20).read(SEEN).fault("kill").fault("restart"),
            1,
            "no operation overlapped any of 1 faults",
        ),
    ],
)
def test_a_nemesis_that_did_nothing_is_unknown(story: Story, scheduled: int, reason: str) -> None:
    result = story.judged(scheduled=scheduled)
    assert result.verdict is Verdict.UNKNOWN
    assert reason in (result.reason or "")


def test_windows_end_where_the_undoing_begins() -> None:
    story = Story().fault("kill", 7).adds(1).fault("restart", 7).fault("pause", 8)
    first, second = fault_windows(History(story.ops))
    assert (first.fault, first.start_ns, first.end_ns) == (7, 1_000_000, 4_000_000)
    assert (second.fault, second.end_ns) == (8, 7_000_000)


def test_a_checker_that_raises_is_unknown_and_hides_no_other() -> None:
    good = Story().adds(20).read(list(range(20)))
    result = good.judged(checkers=("bag-broken", "bag-set"))
    assert result.verdict is Verdict.UNKNOWN
    assert "RuntimeError: a wrong checker" in (result.reason or "")
    assert "toy_bag.py" in result.problems[0].traceback
    bad = Story().adds(20).read([])
    assert bad.judged(checkers=("bag-broken", "bag-set")).verdict is Verdict.INVALID


def test_no_checker_is_unknown() -> None:
    assert Story().adds(20).judged(checkers=()).verdict is Verdict.UNKNOWN


def test_problems_of_the_run_are_reasons() -> None:
    story = Story().adds(20).read(list(range(20)))
    problem = Problem("client of process 3: TypeError in add: x", "Traceback …")
    result = judge(History(story.ops), CheckContext(), ("bag-set",), scheduled=None, problems=[problem])
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason == problem.reason
