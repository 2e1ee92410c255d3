"""What counts as reached: a coordinator that is replaced, not one that replays its own log again."""

from __future__ import annotations

from typing import Any

from harness.node import NodeEvent
from systems.broker.situations import REACHED_WITH, SITUATIONS, count_situations


def counted(*events: tuple[str, str, dict[str, Any]]) -> dict[str, int]:
    counts = count_situations(
        [
            NodeEvent(time=n, node=node, kind=kind, fields=fields)
            for n, (node, kind, fields) in enumerate(events)
        ]
    )
    return {name: count for name, count in counts.items() if count}


def loaded(node: str, epoch: int, *resumed: str, of: str = "groups") -> tuple[str, str, dict[str, Any]]:
    fields = {"coordinator": of, "partition": 1, "epoch": epoch, "resumed": list(resumed)}
    return node, "coordinator-loaded", fields


def test_a_group_fails_over_when_another_epoch_replays_it() -> None:
    assert counted(loaded("b1", 0), loaded("b2", 1, "workers", "eos")) == {"group-coordinator-failover": 2}
    assert counted(loaded("b1", 0), loaded("b1", 0, "workers")) == {}
    assert counted(loaded("b1", 0), loaded("b2", 1)) == {}


def test_a_transaction_coordinator_that_replays_its_log_again_was_not_replaced() -> None:
    deciding = ("b1", "txn-state", {"transactional_id": "t", "state": "PrepareCommit"})
    of = "transactions"
    assert counted(loaded("b1", 0, of=of), deciding, loaded("b1", 0, "t", of=of)) == {}
    assert counted(loaded("b1", 0, of=of), deciding, loaded("b2", 1, "t", of=of)) == {
        "coordinator-failover": 1,
        "coordinator-failover-during-commit": 1,
    }


def test_what_becomes_of_members_and_offsets() -> None:
    expired = ("b1", "group-member-expired", {"group": "workers", "member": "m"})
    forgotten = ("b1", "group-offsets-expired", {"group": "workers", "partitions": ["events/0"]})
    assert counted(expired, expired, forgotten) == {"group-member-expired": 2, "group-offsets-expired": 1}


def test_every_situation_names_a_run_that_reaches_it() -> None:
    assert set(REACHED_WITH) == set(SITUATIONS)
