from __future__ import annotations

import random
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from harness.errors import UserError
from harness.node import NodeEvent
from harness.settings import resolve
from harness.topology import Topology
from systems.broker.context import KafkaError
from systems.broker.requests.fetch_sessions import FetchSessions
from systems.broker.system import BrokerSystem

SYSTEM = BrokerSystem()
DEFAULTS = resolve(SYSTEM.settings, {})
TOPOLOGY = Topology(nodes=SYSTEM.nodes(3, DEFAULTS))


def _changed(partition: str, leader: str | None, isr: str, epoch: int, reason: str = "") -> NodeEvent:
    fields: dict[str, Any] = {
        "partition": partition,
        "leader": leader,
        "leader_epoch": epoch,
        "partition_epoch": epoch,
        "isr": isr.split(),
        "elr": [],
        "replicas": ["b1", "b2", "b3"],
        "reason": reason,
    }
    return NodeEvent(0, "c1", "partition-changed", fields)


def test_selectors_follow_the_newest_epoch_and_not_the_latest_event() -> None:
    view = SYSTEM.view(TOPOLOGY)
    for event in (_changed("t/0", "b2", "b2 b3", 5), _changed("t/0", "b1", "b1 b2 b3", 4)):
        view.observe(event)
    assert view.select("leader", "t/0") == ("b2",)
    assert view.select("followers", "t/0") == ("b1", "b3")
    assert view.select("isr", "t/0") == ("b2", "b3")
    assert view.select("outside-isr", "t/0") == ("b1",)
    assert view.select("leader", "unknown/0") == ()
    with pytest.raises(KeyError):
        view.select("moon", "t/0")


def test_the_coordinator_is_the_leader_of_the_keys_internal_partition() -> None:
    view = SYSTEM.view(TOPOLOGY)
    assert view.select("coordinator", "eos-0") == ()
    view.observe(_changed("__transaction_state/0", "b3", "b3", 0))
    assert view.select("coordinator", "eos-0") == ("b3",)


def test_situations_count_changes() -> None:
    events = [
        _changed("t/0", "b1", "b1 b2 b3", 0),
        _changed("t/0", "b1", "b1", 1),
        _changed("t/0", None, "", 2),
        _changed("t/0", "b2", "b2", 3, "elr-elected"),
    ]
    counts = SYSTEM.count_situations(events)
    reached = {name: count for name, count in counts.items() if count}
    assert reached == {
        "isr-shrink": 2,
        "isr-of-one": 1,
        "leaderless": 1,
        "leader-change": 1,
        "elr-election": 1,
        "isr-expand": 1,
    }
    assert set(counts) == set(SYSTEM.situations)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"min.insync.replicas": 4}, "min.insync.replicas=4"),
        ({"replication.factor": 5}, "--nodes 5"),
        ({"broker.heartbeat.interval.ms": 5000}, "broker.heartbeat.interval.ms=5000"),
        ({"broker.heartbeat.interval.ms": 1600}, "without a lease"),
        ({"transaction.timeout.ms": 90000}, "transaction.max.timeout.ms"),
    ],
)
def test_contradictions_are_refused_with_what_to_do(given: dict[str, int], word: str) -> None:
    with pytest.raises(UserError, match=word):
        SYSTEM.validate(TOPOLOGY, resolve(SYSTEM.settings, given))


def test_the_defaults_are_accepted() -> None:
    SYSTEM.validate(TOPOLOGY, DEFAULTS)


def test_a_fetch_session_goes_on_only_in_its_own_order() -> None:
    sessions: FetchSessions[str, int] = FetchSessions(random.Random(0))
    session = sessions.begin(2)
    session.update([("t/0", 5), ("t/1", 6)], [])
    assert sessions.continue_(2, session.id, 1) is session
    session.update([("t/0", 7)], ["t/1"])
    assert {key: partition.wanted for key, partition in session.partitions.items()} == {"t/0": 7}
    for replica, session_id, epoch, code in (
        (2, session.id, 1, ErrorCode.invalid_fetch_session_epoch),
        (2, session.id + 1, 2, ErrorCode.fetch_session_id_not_found),
        (3, session.id, 2, ErrorCode.fetch_session_id_not_found),
    ):
        with pytest.raises(KafkaError, match=code.name):
            sessions.continue_(replica, session_id, epoch)
    assert sessions.begin(2).id != session.id
