"""The injector: overlapping faults, what the history says of them, and what becomes of failures."""

from __future__ import annotations

import pytest
from scene import TOPOLOGY, Scene, View, fault, until

from harness.errors import UserError
from harness.faults import check_schedule
from harness.schedule import Fault, Schedule


def test_a_fault_is_applied_recorded_and_undone() -> None:
    scene = Scene().play(fault("kill", "leader(x)"))
    assert scene.cluster.calls == ["kill n1", "restart n1"]
    assert scene.told == [("kill", "invoke"), ("kill", "ok"), ("restart", "invoke"), ("restart", "ok")]
    applied = scene.ops[1].value
    assert applied["targets"] == ["n1"]
    assert applied["verified"] is True
    assert applied["fault"] == 0


def test_the_selector_is_resolved_when_the_fault_fires() -> None:
    async def moved(scene: Scene) -> None:
        scene.view.leader = ("n2",)
        await until(lambda: len(scene.cluster.calls) == 1)

    assert Scene().play(fault("kill", "leader(x)", at_ms=5), meanwhile=moved).cluster.calls[0] == "kill n2"


def test_a_link_heals_when_the_last_fault_on_it_ends() -> None:
    scene = Scene().play(
        fault("partition", "n1", direction="out", duration_ms=60),
        fault("partition", "n1", at_ms=10, direction="out", duration_ms=20),
    )
    assert scene.cluster.calls == ["cut n1>n2 drop", "cut n1>n3 drop", "heal n1>n2", "heal n1>n3"]


def test_the_newest_way_of_cutting_is_in_force_until_it_ends() -> None:
    scene = Scene().play(
        fault("partition", "n1+n2", direction="out", duration_ms=60, how="drop", shape="halves"),
        fault("partition", "n1", at_ms=10, direction="out", duration_ms=20, how="hold"),
    )
    assert scene.cluster.calls[0:2] == ["cut n1>n3 drop", "cut n2>n3 drop"]
    assert scene.cluster.calls[2:4] == ["cut n1>n2 hold", "cut n1>n3 hold"]
    assert scene.cluster.calls[4:6] == ["heal n1>n2", "cut n1>n3 drop"]
    assert scene.cluster.calls[6:] == ["heal n1>n3", "heal n2>n3"]


def test_a_node_killed_twice_restarts_once() -> None:
    scene = Scene().play(fault("kill", "n1", duration_ms=60), fault("kill", "all", at_ms=10, duration_ms=20))
    assert scene.cluster.calls == ["kill n1", "kill n2", "kill n3", "restart n2", "restart n3", "restart n1"]


def test_a_kill_ends_the_pause_of_its_node() -> None:
    scene = Scene().play(fault("pause", "n1", duration_ms=60), fault("kill", "n1", at_ms=10, duration_ms=20))
    assert scene.cluster.calls == ["pause n1", "kill n1", "restart n1"]
    assert "restarted meanwhile" in scene.ops[-1].value["detail"]


def test_pausing_a_dead_node_is_no_proven_fault() -> None:
    scene = Scene().play(fault("kill", "n1", duration_ms=60), fault("pause", "n1", at_ms=10))
    assert scene.cluster.calls == ["kill n1", "restart n1"]
    [paused] = [op for op in scene.ops if op.f == "pause" and op.type == "ok"]
    assert paused.value["verified"] is False


def test_power_loss_reaches_a_node_that_is_already_down() -> None:
    scene = Scene().play(
        fault("kill", "n1", duration_ms=60), fault("power", "n1", at_ms=10, duration_ms=20, torn=True)
    )
    assert scene.cluster.calls == ["kill n1", "power n1 torn", "restart n1"]


def test_latencies_of_two_faults_add_up() -> None:
    scene = Scene().play(
        fault("slow", "client-0", duration_ms=60, latency_ms=10, jitter_ms=1),
        fault("slow", "client-0", at_ms=10, duration_ms=20, latency_ms=5, jitter_ms=2),
    )
    link = [c for c in scene.cluster.calls if "client-0>n1" in c]
    assert link == [f"slow client-0>n1 {v}" for v in ("10±1", "15±3", "10±1", "0±0")]


def test_clock_modes() -> None:
    scene = Scene().play(
        fault("clock", "n1", mode="jump", offset_ms=-500),
        fault("clock", "n2", at_ms=30, mode="drift", rate=0.05),
    )
    assert scene.cluster.calls == ["skew n1 -500 x1", "skew n1 0 x1", "skew n2 0 x1.05", "skew n2 0 x1"]
    strobe = (
        Scene()
        .play(fault("clock", "n1", mode="strobe", offset_ms=200, period_ms=5, duration_ms=40))
        .cluster.calls
    )
    assert strobe[:3] == ["skew n1 200 x1", "skew n1 0 x1", "skew n1 200 x1"]
    assert strobe[-1] == "skew n1 0 x1"


def test_the_first_node_to_reach_the_step_dies_there_and_comes_back() -> None:
    async def reach(scene: Scene) -> None:
        await until(lambda: len(scene.cluster.armed) == 3)
        scene.cluster.reach("n2", "commit")
        assert scene.cluster.calls == ["kill n2"]
        assert not scene.cluster.armed

    scene = Scene().play(fault("crash-at", "all", step="commit", duration_ms=500), meanwhile=reach)
    assert scene.cluster.calls == ["kill n2", "restart n2"]
    assert [f for f, t in scene.told if t == "ok"] == ["crash-at", "kill", "restart"]
    assert scene.ops[3].value["targets"] == ["n2"]


def test_a_step_that_is_never_reached_is_disarmed() -> None:
    scene = Scene().play(fault("crash-at", "all", step="commit"))
    assert scene.cluster.calls == []
    assert not scene.cluster.armed
    assert scene.told[-1] == ("disarm", "ok")


def test_a_fault_without_a_target_is_recorded_as_fail() -> None:
    scene = Scene()
    scene.view.leader = ()
    scene.play(fault("kill", "leader(x)"))
    assert scene.told == [("kill", "invoke"), ("kill", "fail")]
    assert scene.cluster.calls == []
    assert scene.problems == []


def test_a_fault_that_raises_is_info_and_a_problem_and_is_still_undone() -> None:
    scene = Scene()
    scene.cluster.failing = "cut n1>n3"
    scene.play(fault("partition", "n1", direction="out"))
    assert scene.told[:2] == [("partition", "invoke"), ("partition", "info")]
    assert "heal n1>n2" in scene.cluster.calls
    assert len(scene.problems) == 1


def test_an_unproven_heal_is_told() -> None:
    scene = Scene()
    scene.cluster.unproven = "restart"
    scene.play(fault("kill", "n1"))
    assert scene.ops[-1].value["verified"] is None
    assert len(scene.injector.unproven_heals) == 1


def test_the_end_of_the_run_undoes_what_is_in_force_and_fires_nothing_more() -> None:
    async def end(scene: Scene) -> None:
        await until(lambda: bool(scene.cluster.calls))

    scene = Scene().play(
        fault("kill", "n1", duration_ms=None), fault("kill", "n2", at_ms=1_000), meanwhile=end
    )
    assert scene.cluster.calls == ["kill n1", "restart n1"]
    assert scene.injector.active == ()


def test_only_the_core_heals_when_asked() -> None:
    async def end(scene: Scene) -> None:
        await until(lambda: len(scene.cluster.calls) == 3)

    scene = Scene().play(
        fault("kill", "all", duration_ms=None), meanwhile=end, only=frozenset({"n1", "n2", "client-0"})
    )
    assert scene.cluster.calls[3:] == ["restart n1", "restart n2"]
    assert not scene.injector.damage.should_run("n3")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (fault("kil", "n1"), "did you mean 'kill'"),
        (fault("kill", "n7"), "fault 0 .kill at 0 ms.: selector 'n7'"),
        (fault("partition", "n1", how="dorp"), "did you mean 'drop'"),
        (fault("clock", "n1", mode="jmp"), "did you mean 'jump'"),
        (fault("crash-at", "n1"), "needs the parameter 'step'"),
        (fault("kill", "n1", shape="halves"), "unknown parameter of kill 'shape'"),
        (fault("slow", "n1", latencyms=3), "did you mean 'latency_ms'"),
        (fault("slow", "n1", latency_ms="3"), "latency_ms: expected a number, got '3'"),
        (fault("slow", "n1", latency_ms=-3), "expected a number of at least 0"),
        (fault("power", "n1", torn=1), "torn: expected true or false, got 1"),
        (fault("partition", "n1", clients="yes"), "clients: expected true or false"),
        (fault("partition", "n1", shape="rong"), "did you mean 'ring'"),
        (fault("crash-at", "n1", step=7), "step: expected text, got 7"),
        (fault("kill", "n1", at_ms=-1), "must not be negative"),
        (fault("kill", "isr(x)"), "not one of this system"),
        (fault("slow", "n1", to="n7"), "fault 0 .slow at 0 ms.: selector 'n7'"),
        (fault("slow", "n1", kinds="store"), "expected a list of names"),
        (fault("slow", "n1", kinds=[]), "expected a list of names"),
        (fault("flaky", "n1", loss=1.5), "expected a number from 0 to 1"),
        (fault("datagrams", "n1", dupe=0.5), "unknown parameter of datagrams 'dupe'"),
        (fault("replace", "n1", by="nobody"), "selector 'nobody'"),
    ],
)
def test_a_schedule_that_cannot_be_carried_out_is_refused(wrong: Fault, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_schedule(Schedule((wrong,)), TOPOLOGY, View())


def test_a_partition_with_a_step_cuts_when_a_node_gets_there() -> None:
    async def reach(scene: Scene) -> None:
        await until(lambda: len(scene.cluster.armed) == 3)
        assert scene.cluster.calls == []
        scene.cluster.reach("n2", "commit")
        await until(lambda: bool(scene.cluster.calls))

    scene = Scene().play(fault("partition", "n1", step="commit", duration_ms=4_000), meanwhile=reach)
    assert not scene.cluster.armed
    assert scene.cluster.calls[0].startswith("cut")
    assert [f for f, t in scene.told if t == "ok"] == ["partition", "heal-partition"]


def test_messages_are_slow_from_when_a_node_gets_there() -> None:
    async def reach(scene: Scene) -> None:
        await until(lambda: len(scene.cluster.armed) == 3)
        assert scene.cluster.calls == []
        scene.cluster.reach("n2", "commit")
        await until(lambda: bool(scene.cluster.calls))

    scene = Scene().play(fault("slow", "n1", step="commit", duration_ms=4_000), meanwhile=reach)
    assert not scene.cluster.armed
    assert [f for f, t in scene.told if t == "ok"] == ["slow", "heal-slow"]


def test_a_partition_does_not_wait_for_its_step_for_ever() -> None:
    scene = Scene().play(fault("partition", "n1", step="commit", duration_ms=400))
    assert not scene.cluster.armed
    assert [f for f, t in scene.told if t == "ok"] == ["partition", "heal-partition"]
