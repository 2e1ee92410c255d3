"""Who the primary is, by what the servers said of themselves."""

from __future__ import annotations

from typing import Any

from harness.foreign import STARTED, STATE
from harness.node import NodeEvent
from harness.topology import Topology
from systems.postgres.system import PostgresSystem
from systems.postgres.view import PostgresView

TOPOLOGY = Topology(PostgresSystem().nodes(3, {"standby": "streaming"}))


def said(node: str, **fields: Any) -> NodeEvent:
    return NodeEvent(0, node, STATE, fields)


def view(*events: NodeEvent) -> PostgresView:
    seen = PostgresView(TOPOLOGY)
    for event in events:
        seen.observe(event)
    return seen


def test_before_anybody_spoke_the_first_server_is_the_primary() -> None:
    assert view().select("leader", "postgres") == ("pg1",)
    assert view().select("followers", "postgres") == ("pg2",)


def test_who_was_promoted_is_the_primary_and_stays_it() -> None:
    """A former primary that wakes up takes itself for the primary still, on an older timeline."""
    events = (
        said("pg1", role="primary", timeline=1),
        said("pg2", role="standby", stream="streaming"),
        said("pg2", role="primary", timeline=2),
        NodeEvent(0, "pg1", STARTED, {"host": "h", "port": 1, "incarnation": 1}),
        said("pg1", role="primary", timeline=1),
    )
    assert view(*events).select("leader", "postgres") == ("pg2",)
    assert view(*events).select("isr", "postgres") == ("pg1", "pg2")
    assert view(*events).snapshot()["primary"] == ["pg2"]


def test_a_failover_is_a_new_timeline() -> None:
    events = [said("pg1", role="primary", timeline=1), said("pg2", role="primary", timeline=2)]
    assert PostgresSystem().count_situations(events) == {"failed-over": 1}
    assert PostgresSystem().count_situations(events[:1]) == {"failed-over": 0}


def test_without_a_standby_there_is_one_server() -> None:
    assert [node.name for node in PostgresSystem().nodes(5, {"standby": "none"})] == ["pg1"]
