"""Faults of links, of messages by their kind, of disks and of several clocks, as the cluster feels them."""

from __future__ import annotations

import pytest
from scene import Scene, fault, until


def test_links_to_some_in_one_direction() -> None:
    scene = Scene().play(fault("slow", "n1", to="n2+client-0", direction="out", latency_ms=5))
    assert scene.cluster.calls == [
        "slow n1>n2 5±0",
        "slow n1>client-0 5±0",
        "slow n1>n2 0±0",
        "slow n1>client-0 0±0",
    ]


def test_a_group_and_itself_has_links_within() -> None:
    scene = Scene().play(fault("flaky", "all", to="all", direction="out", loss=0.1))
    begun = scene.cluster.calls[:6]
    assert begun == [f"slow n{a}>n{b} 0±0 loss 0.1" for a in (1, 2, 3) for b in (1, 2, 3) if a != b]


def test_a_partition_between_two_groups() -> None:
    scene = Scene().play(fault("partition", "n1", to="n3", direction="in"))
    assert scene.cluster.calls == ["cut n3>n1 drop", "heal n3>n1"]


def test_a_fault_of_links_without_any_link_is_no_fault() -> None:
    scene = Scene().play(fault("slow", "n1", to="n1"))
    assert scene.told == [("slow", "invoke"), ("slow", "fail")]


def test_faults_of_one_link_are_taken_together() -> None:
    to = {"to": "n2", "direction": "out"}
    scene = Scene().play(
        fault("flaky", "n1", duration_ms=80, loss=0.5, bandwidth_kbps=100, **to),
        fault("flaky", "n1", at_ms=10, duration_ms=50, loss=0.5, bandwidth_kbps=50, **to),
        fault("datagrams", "n1", at_ms=20, duration_ms=10, loss=0.25, duplicate=0.1, reorder=0.2, **to),
    )
    assert scene.cluster.calls == [
        "slow n1>n2 0±0 loss 0.5 kbps 100",
        "slow n1>n2 0±0 loss 0.75 kbps 50",
        "slow n1>n2 0±0 loss 0.75 kbps 50 datagram-loss 0.25 duplicate 0.1 reorder 0.2",
        "slow n1>n2 0±0 loss 0.75 kbps 50",
        "slow n1>n2 0±0 loss 0.5 kbps 100",
        "slow n1>n2 0±0",
    ]


def test_messages_are_slow_by_their_kind() -> None:
    scene = Scene().play(
        fault("slow", "n1", kinds=["store", "read"], to="n2", direction="out", latency_ms=50, jitter_ms=5),
        fault("slow", "n1", at_ms=5, duration_ms=5, kinds=["store"], to="n2", direction="out", latency_ms=10),
    )
    assert scene.cluster.calls == [
        "delay store n1>n2 50±5",
        "delay read n1>n2 50±5",
        "delay store n1>n2 60±5",
        "delay store n1>n2 50±5",
        "delay store n1>n2 0±0",
        "delay read n1>n2 0±0",
    ]


def test_messages_of_a_kind_pass_between_nodes_only() -> None:
    scene = Scene().play(fault("slow", "n1", kinds=["store"], direction="out", latency_ms=50))
    slowed = [call for call in scene.cluster.calls if call.endswith("50±0")]
    assert slowed == ["delay store n1>n2 50±0", "delay store n1>n3 50±0"]


def test_a_wiped_node_restarts_when_its_time_is_over() -> None:
    scene = Scene().play(fault("wipe", "n1"))
    assert scene.cluster.calls == ["kill n1", "wipe n1", "restart n1"]
    assert [f for f, t in scene.told if t == "ok"] == ["wipe", "restart"]


def test_a_node_that_is_down_can_lose_its_disk() -> None:
    scene = Scene().play(fault("kill", "n1", duration_ms=60), fault("wipe", "n1", at_ms=10))
    assert scene.cluster.calls == ["kill n1", "wipe n1", "restart n1"]


@pytest.mark.parametrize("kind", ["wipe", "disk-full", "slow-disk", "cpu", "memory"])
def test_client_hosts_have_no_disk_to_break(kind: str) -> None:
    assert Scene().play(fault(kind, "client-0")).told == [(kind, "invoke"), (kind, "fail")]


def test_slow_disks_add_up() -> None:
    scene = Scene().play(
        fault("slow-disk", "n1", duration_ms=60, latency_ms=10, jitter_ms=1),
        fault("slow-disk", "n1", at_ms=10, duration_ms=20, latency_ms=5, jitter_ms=2),
    )
    assert scene.cluster.calls == [f"disk n1 {v}" for v in ("10±1", "15±3", "10±1", "0±0")]


def test_a_disk_has_room_again_when_the_last_fault_on_it_ends() -> None:
    scene = Scene().play(
        fault("disk-full", "n1", duration_ms=60), fault("disk-full", "n1", at_ms=10, duration_ms=20)
    )
    assert scene.cluster.calls == ["fill n1", "fill n1", "empty n1"]


def test_a_node_that_stopped_on_a_full_disk_is_started_again() -> None:
    async def stops(scene: Scene) -> None:
        await until(lambda: scene.cluster.calls == ["fill n1"])
        scene.cluster.up.discard("n1")
        assert scene.injector.damage.stopped_by_itself("n1")
        assert not scene.injector.damage.stopped_by_itself("n2"), "no fault explains it"

    scene = Scene().play(fault("disk-full", "n1", duration_ms=None), meanwhile=stops)
    assert scene.cluster.calls == ["fill n1", "empty n1", "restart n1"]
    assert scene.told[-1] == ("heal-disk-full", "ok")


def test_a_stopped_node_that_another_fault_holds_down_is_left_to_it() -> None:
    async def stops(scene: Scene) -> None:
        await until(lambda: scene.cluster.calls == ["fill n1"])
        scene.cluster.up.discard("n1")
        assert scene.injector.damage.stopped_by_itself("n1")
        await until(lambda: scene.injector.active == ())

    scene = Scene().play(
        fault("disk-full", "n1", duration_ms=60),
        fault("kill", "n1", at_ms=30, duration_ms=100),
        meanwhile=stops,
    )
    assert scene.cluster.calls == ["fill n1", "empty n1", "restart n1"]


def test_the_scarcest_share_of_a_processor_is_in_force() -> None:
    scene = Scene().play(
        fault("cpu", "n1", duration_ms=60, cores=0.1), fault("cpu", "n1", at_ms=10, duration_ms=20, cores=0.5)
    )
    assert scene.cluster.calls == ["cpu n1 0.1", "cpu n1 0.1", "cpu n1 0.1", "cpu n1 None"]


def test_a_node_that_was_killed_for_the_lack_of_memory_is_started_again() -> None:
    async def killed(scene: Scene) -> None:
        await until(lambda: scene.cluster.calls == ["memory n1 4.0"])
        scene.cluster.up.discard("n1")
        assert scene.injector.damage.stopped_by_itself("n1")

    scene = Scene().play(fault("memory", "n1", duration_ms=None, more_mb=4), meanwhile=killed)
    assert scene.cluster.calls == ["memory n1 4.0", "memory n1 None", "restart n1"]


def test_clocks_are_scattered_each_by_its_own_offset() -> None:
    calls = Scene().play(fault("clock", "all", mode="scatter", offset_ms=1_000)).cluster.calls
    offsets = [float(call.split()[2]) for call in calls[:3]]
    assert len(set(offsets)) == 3
    assert all(-1_000 <= offset <= 1_000 for offset in offsets)
    assert calls[3:] == [f"skew n{i} 0 x1" for i in (1, 2, 3)]


def test_a_sawtooth_is_stepped_back_every_period() -> None:
    calls = (
        Scene()
        .play(fault("clock", "n1", mode="sawtooth", rate=0.5, period_ms=10, duration_ms=55))
        .cluster.calls
    )
    assert set(calls[:-1]) == {"skew n1 0 x1.5"}
    assert 3 <= len(calls) <= 7
    assert calls[-1] == "skew n1 0 x1"
