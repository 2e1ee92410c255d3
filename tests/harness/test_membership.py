"""Changes of the cluster: who is launched and retired when, what the system is told, and what becomes of refusals."""

from __future__ import annotations

import asyncio

import pytest
from scene import Scene, fault, until

from harness.cluster import Cluster, Evidence
from harness.system import Change
from harness.topology import NodeInfo, Topology

TOPOLOGY = Topology(
    tuple(NodeInfo(f"n{i}", "store", i, 7000 + i, spare=i > 3) for i in range(1, 6)),
    clients=("client-0",),
)


class Ring:
    """Writes down what it is told, as calls of the cluster; `answer` is what it says."""

    def __init__(self, answer: Evidence | Exception | None = None, *, takes_s: float = 0.0) -> None:
        self.answer = answer or Evidence(True, "done")
        self.takes_s = takes_s

    async def administer(
        self, cluster: Cluster, change: Change, node: str, *, replaced: str | None = None
    ) -> Evidence:
        calls: list[str] = cluster.calls  # type: ignore[attr-defined]
        calls.append(f"{change} {node}" + (f" for {replaced}" if replaced else ""))
        await asyncio.sleep(self.takes_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def scene(ring: Ring | None = None, **more: float) -> Scene:
    return Scene(TOPOLOGY, system=ring or Ring(), **more)


def test_a_spare_joins_and_leaves_again() -> None:
    played = scene().play(fault("join", "n4"))
    assert played.cluster.calls == ["launch n4", "join n4", "leave n4", "retire n4"]
    assert [f for f, t in played.told if t == "ok"] == ["join", "undo-join"]
    assert played.ops[1].value["targets"] == ["n4"]
    assert played.ops[1].value["verified"] is True
    assert played.cluster.members == ("n1", "n2", "n3")


def test_a_promotion_is_asked_of_the_system_alone_and_never_taken_back() -> None:
    played = scene().play(fault("promote", "n2"))
    assert played.cluster.calls == ["promote n2"]
    assert [f for f, t in played.told if t == "ok"] == ["promote"]
    assert played.ops[1].value["verified"] is True


def test_a_member_leaves_and_comes_back_as_a_new_machine() -> None:
    played = scene().play(fault("leave", "n2"))
    assert played.cluster.calls == ["leave n2", "retire n2", "launch n2", "join n2"]
    assert [f for f, t in played.told if t == "ok"] == ["leave", "undo-leave"]


def test_a_lost_machine_is_replaced_and_its_replacement_too() -> None:
    played = scene().play(fault("replace", "n2", by="n5"))
    assert played.cluster.calls == [
        "retire n2",
        "launch n5",
        "replace n5 for n2",
        "retire n5",
        "launch n2",
        "replace n2 for n5",
    ]
    assert played.ops[1].value["successors"] == ["n5"]


def test_without_a_duration_a_change_is_there_to_stay() -> None:
    async def joined(played: Scene) -> None:
        await until(lambda: len(played.cluster.calls) == 4)

    played = scene().play(fault("join", "spares", duration_ms=None), meanwhile=joined)
    assert played.cluster.calls == ["launch n4", "join n4", "launch n5", "join n5"]
    assert played.cluster.members == ("n1", "n2", "n3", "n4", "n5")
    assert played.injector.active == ()


def test_other_faults_go_on_meanwhile_and_a_new_member_is_hit_by_them() -> None:
    played = scene(Ring(takes_s=0.06)).play(
        fault("join", "n4", duration_ms=None),
        fault("pause", "n1", at_ms=20, duration_ms=10),
        fault("kill", "all", at_ms=40, duration_ms=5),
    )
    assert played.cluster.calls[:4] == ["launch n4", "join n4", "pause n1", "resume n1"]
    assert played.cluster.calls[4:8] == ["kill n1", "kill n2", "kill n3", "kill n4"]
    assert ("join", "ok") in played.told


def test_who_is_no_member_is_not_hit() -> None:
    played = scene().play(fault("kill", "n4"), fault("kill", "stores-n1-n2", at_ms=30))
    assert played.cluster.calls == ["kill n3", "restart n3"]
    assert played.told[:2] == [("kill", "invoke"), ("kill", "fail")]


def test_a_partition_leaves_spares_alone() -> None:
    played = scene().play(fault("partition", "n1", direction="out"))
    assert [c for c in played.cluster.calls if c.startswith("cut")] == ["cut n1>n2 drop", "cut n1>n3 drop"]


def test_one_change_at_a_time() -> None:
    played = scene(Ring(takes_s=0.03)).play(
        fault("join", "n4", duration_ms=5), fault("leave", "n2", at_ms=5, duration_ms=5)
    )
    calls = played.cluster.calls
    assert calls[:4] == ["launch n4", "join n4", "leave n2", "retire n2"]
    assert sorted(calls[4:]) == ["join n2", "launch n2", "leave n4", "retire n4"]


@pytest.mark.parametrize(("kind", "undone"), [("join", ["retire n4"]), ("leave", [])])
def test_what_the_system_refuses_has_not_happened(kind: str, undone: list[str]) -> None:
    target = {"join": "n4", "leave": "n2"}[kind]
    played = scene(Ring(Evidence(False, "too few would be left"))).play(fault(kind, target))
    begun = ["launch n4", "join n4"] if kind == "join" else ["leave n2"]
    assert played.cluster.calls == begun + undone
    assert played.ops[-1].value["verified"] is False
    assert played.told == [(kind, "invoke"), (kind, "ok")], "nothing to undo"
    assert played.problems == []


def test_a_change_that_does_not_end_is_unproven_and_stays() -> None:
    played = scene(Ring(takes_s=60), timeout_s=0.05).play(fault("join", "n4", duration_ms=10))
    assert played.cluster.calls == ["launch n4", "join n4"]
    assert played.ops[-1].value["verified"] is None
    assert "not complete" in played.ops[-1].value["detail"]


def test_a_system_that_fails_at_it_is_a_problem() -> None:
    played = scene(Ring(OSError("no way"))).play(fault("join", "n4"))
    assert played.told == [("join", "invoke"), ("join", "info")]
    assert len(played.problems) == 1


def test_a_change_under_way_is_waited_for_at_the_end() -> None:
    async def soon(played: Scene) -> None:
        await until(lambda: len(played.cluster.calls) == 2)

    played = scene(Ring(takes_s=0.05)).play(fault("leave", "n2", duration_ms=1_000), meanwhile=soon)
    assert played.told[1] == ("leave", "ok")
    assert played.cluster.members == ("n1", "n2", "n3")


def test_nobody_to_replace_with() -> None:
    played = scene().play(fault("replace", "n1+n2", by="n3"))
    assert played.told == [("replace", "invoke"), ("replace", "fail")]
    assert played.cluster.calls == []
