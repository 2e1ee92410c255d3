"""Whom faults of the store are aimed at."""

from __future__ import annotations

import pytest

from harness.node import NodeEvent
from harness.plan import resolve as planned
from harness.schedule import Fault, Schedule
from harness.settings import resolve
from harness.spec import Spec
from harness.topology import Topology
from systems.quorum.ring import range_of
from systems.quorum.system import QuorumSystem

SYSTEM = QuorumSystem()
CONFIG = resolve(SYSTEM.settings, {})
RANGES = 4


def led(node: str, number: int, term: int) -> NodeEvent:
    return NodeEvent(0, node, "range-led", {"range": number, "ranges": RANGES, "term": term})


def test_who_leads_a_key_leads_its_range_in_the_latest_term() -> None:
    view = SYSTEM.view(Topology(nodes=SYSTEM.nodes(3, CONFIG)))
    mine = range_of("k", RANGES)
    assert view.select("leader", "k") == ()
    for event in (led("n2", mine, 5), led("n1", mine, 4), led("n3", (mine + 1) % RANGES, 9)):
        view.observe(event)
    assert view.select("leader", "k") == ("n2",)


@pytest.mark.parametrize("selector", ["owner(any)", "outside(any)", "replicas(any)-owner(any)"])
def test_faults_are_aimed_at_any_key_whatever_the_workload(selector: str) -> None:
    schedule = Schedule((Fault(at_ms=0, kind="kill", selector=selector),))
    planned(Spec(system="quorum", nodes=5, workload="siblings", schedule=schedule))
