"""How a lost record is explained: with the cause where events show it, and never with one that they do not."""

from __future__ import annotations

import pytest
from scenes import MS, PARTITION, Scenario, deposed_leader, killed_leader

from checkers.log import LogChecker
from checkers.log.replicas import replay
from checkers.outages import outages
from harness.results import Anomaly


def found(run: Scenario, name: str = "lost-write", **given: object) -> Anomaly:
    result = LogChecker().check(run.history(), run.context(**given))
    return next(anomaly for anomaly in result.anomalies if anomaly.name == name)


def test_a_killed_leader() -> None:
    anomaly = found(killed_leader())
    assert anomaly.summary == (
        "orders/0 offset 1: `3:1`, acknowledged to process 3 by b1 at 0.210 s, was on b1 only and is lost: b1 was killed at "
        "0.300 s, b2 became leader of epoch 1 with end offset 1 at 1.001 s, and b1 truncated 2 to 1 at 2.015 s "
        "(1 of 3 acknowledged records of orders/0, 33.3 %)"
    )
    assert [(m.time // MS, m.node, m.text) for m in anomaly.story] == [
        (200, "b1", "process 3 sends `3:1` to orders/0"),
        (210, "b1", "b1, leader of epoch 0, acknowledges `3:1` at offset 1 to process 3"),
        (300, "b1", "b1 is killed"),
        (1_000, "c1", "c1 (controller) makes b2 leader of orders/0, epoch 1; in sync: b2"),
        (1_001, "b2", "b2 leads orders/0 from epoch 1 on; its log ends at offset 1: it has nothing at 1"),
        (1_110, "b2", "b2 acknowledges another record, `4:0`, at offset 1 to process 4"),
        (2_000, "b1", "b1 is started again"),
        (
            2_015,
            "b1",
            "b1 truncates orders/0 from end offset 2 to 1, to match b2, leader of epoch 1: what stood at 1 is gone from it",
        ),
        (
            5_010,
            None,
            "the final read of orders/0 (2 records, to its end offset 2) has `4:0` at offset 1 and `3:1` nowhere",
        ),
    ]
    assert anomaly.data["replicas"]["rows"] == [
        {
            "node": "b1",
            "told": [
                {"time": 210 * MS, "what": "held", "has": True},
                {"time": 2_015 * MS, "what": "truncated", "was": 2, "end": 1, "has": False},
            ],
        },
        {
            "node": "b2",
            "told": [{"time": 1_001 * MS, "what": "elected", "epoch": 1, "end": 1, "has": False}],
        },
        {"node": "b3", "told": []},
    ]


def test_every_operation_of_the_story_can_be_drawn_between_a_client_and_a_node() -> None:
    anomaly = found(killed_leader())
    by_index = {op.index: op for op in killed_leader().history()}
    arrows = [(by_index[m.op].type, m.node) for m in anomaly.story if m.op is not None and m.node is not None]
    assert arrows[:2] == [("invoke", "b1"), ("ok", "b1")]


def test_a_deposed_leader_that_acknowledged_after_its_successor_was_elected() -> None:
    anomaly = found(deposed_leader())
    assert anomaly.summary == (
        "orders/0 offset 1: `3:1`, acknowledged to process 3 by b1 at 1.510 s, is lost: "
        "b1 was cut off from b2 and b3 at 0.150 s, b2 became leader of epoch 1 with end offset 1 at 1.001 s, and "
        "b1 truncated 2 to 1 at 3.015 s (1 of 3 acknowledged records of orders/0, 33.3 %)"
    )


def test_two_values_at_one_offset_name_both_acknowledgements() -> None:
    anomaly = found(deposed_leader(), "inconsistent-offsets")
    assert anomaly.summary.startswith(
        "orders/0 offset 1 was seen with different values, `3:1` (acknowledged to process 3 by b1 at 1.510 s) and "
        "`4:0` (acknowledged to process 4"
    )


def test_an_unclean_leader_whose_log_is_longer_but_another_one() -> None:
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.send(100, 110, 3, "3:0", 0)
    run.leads(500, "b2", 1, 1)
    run.send(600, 610, 3, "3:1", 1)
    run.fault(700, 2_000, "kill", "restart", ["b2"])
    run.leads(1_000, "b1", 2, 3, reason="unclean-elected")
    run.follows(2_010, "b2", "b1", 2, cut=(2, 1))
    run.final_read(5_000, ["3:0", "9:1", "9:2"])
    anomaly = found(run)
    assert anomaly.summary == (
        "orders/0 offset 1: `3:1`, acknowledged to process 3 at 0.610 s, is lost: the final read (3 records, to its end "
        "offset 3) does not have it (1 of 2 acknowledged records of orders/0, 50 %)"
    ), "b1 has not said that it no longer led epoch 0: who acknowledged is not known"
    run.follows(502, "b1", "b2", 1)
    assert found(run).summary == (
        "orders/0 offset 1: `3:1`, acknowledged to process 3 by b2 at 0.610 s, is lost: b2 was killed at 0.700 s, b1, elected "
        "uncleanly, became leader of epoch 2 with another log from offset 1 on at 1.001 s, and b2 truncated 2 to 1 "
        "at 2.015 s (1 of 2 acknowledged records of orders/0, 50 %)"
    )
    rows = {row["node"]: row["told"] for row in found(run).data["replicas"]["rows"]}
    assert rows["b1"][-1] == {
        "time": 1_001 * MS,
        "what": "elected",
        "epoch": 2,
        "end": 3,
        "parted": 1,
        "has": False,
    }


def test_a_leader_that_lost_power_leads_again_with_less() -> None:
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.send(100, 110, 3, "3:0", 0)
    run.fault(200, 1_000, "power", "restart", ["b1", "b2", "b3"])
    run.leads(1_500, "b1", 1, 0)
    run.final_read(5_000, ["9:0"])
    assert (
        "is lost: b1 lost power at 0.200 s, and b1 became leader again of epoch 1 with end offset 0 at 1.501 s"
        in found(run).summary
    )


def test_a_successor_that_had_lost_power() -> None:
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.fault(50, 900, "pause", "resume", ["b3"])
    run.send(100, 110, 3, "3:0", 0)
    run.fault(200, 300, "power", "restart", ["b2"])
    run.fault(400, 4_000, "kill", "restart", ["b1"])
    run.leads(1_500, "b2", 1, 0)
    run.final_read(5_000, ["9:0"])
    assert (
        "acknowledged to process 3 by b1 at 0.110 s while b3 was paused, is lost: b1 was killed at 0.400 s, and b2, which had "
        "lost power at 0.200 s, became leader of epoch 1 with end offset 0 at 1.501 s"
    ) in found(run).summary


def test_a_paused_leader_has_not_answered() -> None:
    """b1 still believes to lead, but cannot have acknowledged anything: b2 did."""
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.fault(50, 5_000, "pause", "resume", ["b1"])
    run.leads(60, "b2", 1, 0)
    history = run.history()
    replicas = replay(run.events, PARTITION, outages(history))
    assert [led.node for led in replicas.leaders_at(10 * MS)] == ["b1"]
    assert [led.node for led in replicas.leaders_at(100 * MS, 110 * MS)] == ["b2"]
    assert [led.node for led in replicas.leaders_at(100 * MS, 6_000 * MS)] == ["b1", "b2"]


@pytest.mark.parametrize("returned", [True, False])
def test_who_had_nothing_to_truncate_had_not_acknowledged(returned: bool) -> None:
    """Two believed to lead. The one that came back and had nothing beyond its successor's log did not have the
    record; of one that did not come back nothing is known, and no cause is named."""
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.leads(500, "b2", 1, 0)
    run.send(600, 610, 3, "3:0", 0)
    run.leads(1_000, "b3", 2, 0)
    if returned:
        run.follows(1_010, "b1", "b2", 1)
    run.follows(1_020, "b2", "b3", 2, cut=(1, 0))
    run.final_read(5_000, ["9:0"])
    summary = found(run).summary
    assert ("by b2" in summary) == returned
    assert ("became leader" in summary) == returned


def test_silence_of_a_mutant_proves_nothing() -> None:
    summary = found(killed_leader(), bugs=frozenset({"no-truncation"})).summary
    assert "was on b1 only" not in summary
    assert "b1 truncated 2 to 1" in summary


def test_other_records_at_the_same_offsets_are_no_cause() -> None:
    """b3 comes back with junk of an older epoch: its truncation is not why the record is gone."""
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.send(100, 110, 3, "3:0", 0)
    run.follows(500, "b3", "b1", 0, cut=(4, 0))
    run.final_read(5_000, ["9:0"])
    anomaly = found(run)
    assert "truncated" not in anomaly.summary
    assert anomaly.summary.startswith(
        "orders/0 offset 0: `3:0`, acknowledged to process 3 by b1 at 0.110 s, is lost: the final"
    )


def test_of_many_moments_those_that_matter_are_told_and_the_others_counted() -> None:
    run = killed_leader()
    for number in range(20):
        at = 310 + number
        run.event(
            at,
            "c1",
            "partition-changed",
            partition=PARTITION,
            leader="b1",
            leader_epoch=0,
            isr=["b1"],
            replicas=["b1", "b2", "b3"],
            partition_epoch=100 + number,
            reason="isr-shrunk",
        )
    story = found(run).story
    assert len(story) == 15
    assert "… 15 less telling moments from here on are left out" in [m.text for m in story]
    essential = {m.text for m in found(killed_leader()).story}
    assert essential <= {m.text for m in story}
    assert [m.time for m in story] == sorted(m.time for m in story)


def test_malformed_events_are_no_evidence() -> None:
    run = killed_leader()
    plain = found(run).summary
    run.event(5, "b1", "leader-elected", partition=PARTITION)
    run.event(6, "b1", "truncated", partition=PARTITION, end="x", was=None)
    run.event(250, "b9", "somebody-elses-word", partition=PARTITION, why=[1, 2])
    anomaly = found(run)
    assert anomaly.summary == plain
    assert "b9: somebody-elses-word (partition orders/0, why 1 2)" in [m.text for m in anomaly.story]
