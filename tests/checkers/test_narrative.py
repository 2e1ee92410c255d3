"""The words for faults and node events."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from checkers.narrative import VOCABULARY, befell, begins, ends, event_sentence, names, quoted, share
from checkers.outages import Outage
from harness.node import NodeEvent
from harness.schedule import KINDS

BROKER = Path(__file__).parents[2] / "systems" / "broker"
EMITTED = re.compile(r"\.emit\(\s*\"([a-z-]+)\"(?: if \w+ else \"([a-z-]+)\")?")


def test_every_event_of_the_bundled_broker_has_a_sentence() -> None:
    emitted = {
        kind
        for path in sorted(BROKER.rglob("*.py"))
        for match in EMITTED.findall(path.read_text())
        for kind in match
        if kind
    }
    assert len(emitted) > 15
    assert emitted <= set(VOCABULARY), "a new event needs its words in checkers/narrative.py"


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        (
            "partition-changed",
            {
                "partition": "o/0",
                "leader": "b1",
                "leader_epoch": 4,
                "isr": ["b1"],
                "reason": "unclean-elected",
            },
            "n (controller) elects b1 uncleanly as leader of o/0, epoch 4: it may lack records",
        ),
        (
            "partition-changed",
            {"partition": "o/0", "leader": None, "leader_epoch": 4, "isr": [], "reason": "leader-lost"},
            "n (controller) finds no leader for o/0: in sync was nobody",
        ),
        (
            "txn-state",
            {"transactional_id": "eos-0", "state": "PrepareCommit", "epoch": 3},
            "n (coordinator) decides to commit the transaction of eos-0 (producer epoch 3)",
        ),
        (
            "txn-aborted",
            {"transactional_id": "eos-0", "reason": "timeout"},
            "n (coordinator) aborts the transaction of eos-0, because it ran out of time",
        ),
        (
            "producer-fenced",
            {"transactional_id": "eos-0", "epoch": 3, "current_epoch": 4, "request": "EndTxn"},
            "n (coordinator) refuses EndTxn of eos-0 at producer epoch 3: it is fenced by epoch 4",
        ),
        (
            "coordinator-loaded",
            {"coordinator": "transactions", "partition": 1, "epoch": 2, "resumed": ["eos-0"]},
            "n becomes coordinator (transactions, partition 1, epoch 2), and finds eos-0 in the middle of ending a transaction",
        ),
        (
            "coordinator-loaded",
            {"coordinator": "groups", "partition": 1, "epoch": 2, "resumed": ["workers"]},
            "n becomes coordinator (groups, partition 1, epoch 2), with what workers had committed",
        ),
        ("leader-elected", {"partition": "o/0"}, "n: leader-elected (partition o/0)"),
        ("hint-replayed", {"key": "x", "to": ["n2", "n3"]}, "n: hint-replayed (key x, to n2 n3)"),
        ("hint-replayed", {}, "n: hint-replayed"),
    ],
)
def test_events(kind: str, fields: dict[str, object], sentence: str) -> None:
    assert event_sentence(NodeEvent(0, "n", kind, fields)) == sentence


def outage(kind: str, *targets: str, **params: object) -> Outage:
    return Outage(1, kind, targets, 12_411_000_000, params=tuple(sorted(params.items())))


@pytest.mark.parametrize(
    ("fault", "began", "ended"),
    [
        (outage("kill", "b1"), "b1 is killed", "b1 is started again"),
        (outage("power", "b1", "b2"), "b1 and b2 lose power", "b1 and b2 are started again"),
        (outage("pause", "b1", "b2", "b3"), "b1, b2 and b3 are paused", "b1, b2 and b3 run again"),
        (outage("partition", "b1"), "b1 is cut off from the others", "the network around b1 is healed"),
        (
            outage("partition", "b1", how="hold", direction="in"),
            "b1 is cut off from the others (nothing reaches it), messages are held back",
            "the network around b1 is healed",
        ),
        (
            outage("partition", "b1", "b2", shape="halves"),
            "the network is split, b1 and b2 on one side",
            "the network around b1 and b2 is healed",
        ),
        (
            outage("clock", "b1", mode="jump", offset_ms=60_000),
            "the clock of b1 jumps by 60000 ms",
            "the clock of b1 is set right",
        ),
        (
            outage("slow", "b1", latency_ms=200),
            "the network of b1 becomes slow (200 ms)",
            "slow of b1 ends",
        ),
        (outage("flood", "b1"), "flood hits b1", "flood of b1 ends"),
    ],
)
def test_faults(fault: Outage, began: str, ended: str) -> None:
    assert (begins(fault), ends(fault)) == (began, ended)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_fault_says_whom_it_hit_and_when(kind: str) -> None:
    told = befell(outage(kind, "b1"), "b1", ["b2"])
    assert told.startswith("b1 ")
    assert told.endswith("12.411 s")


def test_whom_a_cut_separates() -> None:
    cut = Outage(1, "partition", ("b1",), 0, links=frozenset({("b1", "b2"), ("client-0", "b1")}))
    assert befell(cut, "b1", ["b2", "b3"]) == "b1 was cut off from b2 at 0.000 s"


def test_names_shares_and_values() -> None:
    assert names(["b1", "b2", "b3", "b4", "b5", "b6"]) == "b1, b2, b3 and 3 more"
    assert (share(23, 1_917), share(1, 100_000), share(7, 7)) == ("1.2 %", "under 0.1 %", "100 %")
    assert quoted("3:42") == "`3:42`"
    assert len(quoted("x" * 500)) < 70
