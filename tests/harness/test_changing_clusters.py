"""Whole runs of a toy system whose nodes come and go, in simulation; and what is refused before a run."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UserError
from harness.execute import Outcome, execute
from harness.plan import resolve
from harness.results import Verdict
from harness.schedule import Fault, Schedule
from harness.spec import Spec

pytestmark = pytest.mark.usefixtures("toy")


def flock(*faults: Fault, nemesis: str = "none", **more: Any) -> Outcome:
    schedule = Schedule(faults) if faults else None
    asked: dict[str, Any] = {"time_limit_ms": 8_000, "settings": {"spares": 2}} | more
    return execute(
        Spec(system="toy-flock", workload="bag", nemesis=nemesis, schedule=schedule, **asked), root=None
    )


def fault(
    kind: str, selector: str, at_ms: int = 1_000, duration_ms: int | None = 2_000, **params: Any
) -> Fault:
    return Fault(at_ms=at_ms, kind=kind, selector=selector, duration_ms=duration_ms, params=params)


def test_spares_are_nodes_beyond_those_asked_for() -> None:
    nodes = resolve(Spec(system="toy-flock", workload="bag", settings={"spares": 2})).topology.nodes
    assert [(n.name, n.spare) for n in nodes] == [
        ("n1", False),
        ("n2", False),
        ("n3", False),
        ("n4", True),
        ("n5", True),
    ]


def test_the_nemesis_of_memberships_changes_them_and_loses_nothing() -> None:
    for seed in range(3):
        result = flock(nemesis="membership", seed=seed, time_limit_ms=40_000).result
        assert result.verdict is Verdict.VALID, result.reason
        assert result.faults["bitten"] >= 2


@pytest.mark.parametrize(
    "change",
    [
        fault("join", "spares"),
        fault("leave", "n3"),
        fault("replace", "n2"),
        fault("join", "n4", duration_ms=None),
    ],
    ids=["join", "leave", "replace", "for good"],
)
def test_each_change_takes_effect_and_a_partition_meanwhile_does_not_hinder_others(change: Fault) -> None:
    cut = fault("partition", "n1", at_ms=1_500, duration_ms=1_000, to="n3")
    result = flock(change, cut).result
    assert result.verdict is Verdict.VALID, result.reason
    assert result.faults["bitten"] == 2


def test_a_refusal_is_a_fault_that_did_not_bite() -> None:
    result = flock(fault("leave", "n1")).result
    assert result.verdict is Verdict.UNKNOWN
    assert "none of 1 scheduled faults is known to have taken effect" in str(result.reason)


def test_who_has_left_is_not_asked_to_leave_again() -> None:
    """The undoing of a join, after another fault let the same node leave."""
    result = flock(
        fault("join", "n4", duration_ms=3_000),
        fault("leave", "n4", at_ms=2_500, duration_ms=None),
        fault("partition", "n2", at_ms=1_000, duration_ms=500),
    ).result
    assert result.verdict is Verdict.VALID, result.reason
    assert result.faults["bitten"] == 3


def test_a_core_is_drawn_from_those_who_are_members() -> None:
    cut = fault("partition", "n3", duration_ms=None)
    result = flock(fault("join", "n4", duration_ms=None), cut, final="core").result
    assert result.verdict is Verdict.VALID, result.reason


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"nemesis": "membership"},
            "system 'toy-bag' cannot change its nodes .*systems that can: .*toy-flock",
        ),
        ({"settings": {"spares": 1}}, "cannot change its nodes while it runs"),
        ({"schedule": Schedule((fault("leave", "n1"),))}, "cannot change its nodes while it runs"),
        (
            {"schedule": Schedule((fault("slow", "n1", kinds=["take"]),))},
            "does not name the kinds of its messages",
        ),
        (
            {"system": "toy-flock", "schedule": Schedule((fault("slow", "n1", kinds=["tkae"]),))},
            "did you mean 'take'",
        ),
    ],
)
def test_what_the_system_cannot_do_is_refused_before_anything_starts(
    asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        resolve(Spec(**{"system": "toy-bag", "workload": "bag", **asked}))


def test_picking_messages_is_asked_of_the_backend() -> None:
    schedule = Schedule((fault("slow", "n1", kinds=["take"]),))
    assert schedule.needs == {"slow", "message-kinds"}
