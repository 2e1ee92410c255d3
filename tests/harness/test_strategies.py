"""Schedules that Hypothesis draws are those of the nemeses, and a failing one shrinks."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.execute import execute
from harness.faults import check_schedule
from harness.plan import resolve
from harness.results import Verdict
from harness.spec import Spec
from harness.strategies import schedules, specs


@given(st.data())
@settings(max_examples=30)
def test_drawn_schedules_are_what_the_nemeses_may_do(data: st.DataObject) -> None:
    spec = Spec(workload="produce", nemesis="partition+kill", time_limit_ms=30_000)
    schedule = data.draw(schedules(spec))
    plan = resolve(spec)
    check_schedule(schedule, plan.topology, plan.system.view(plan.topology))
    assert schedule.kinds <= {"partition", "kill", "pause", "crash-at"}


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(UserError, match="did you mean 'partition'"):
        schedules(Spec(workload="produce", nemesis="partion"))


@pytest.mark.usefixtures("toy")
def test_a_failing_example_shrinks() -> None:
    def loses(spec: Spec) -> bool:
        return execute(spec, root=None).result.verdict is Verdict.INVALID

    drawn = specs(system="toy-bag", workload="bag", nemesis="toy-kill", bugs=("amnesia",), seeds=st.just(0))
    quick = settings(
        max_examples=20, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    found = find(drawn, loses, settings=quick)
    assert found.schedule is not None
    assert found.bugs == ("amnesia",)
    assert loses(found)
