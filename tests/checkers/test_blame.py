"""Whose an anomaly is: the configuration's where it documents it, the application's where it is written so,
else the server's."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.blame import blame
from harness.checker import CheckContext
from harness.history import History
from harness.ops import NEMESIS, Op
from harness.results import Blame

SAFE: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "min.insync.replicas": 2,
    "replication.factor": 3,
    "unclean.leader.election.enable": False,
    "log.flush.interval.messages": 9223372036854775807,
    "isolation.level": "read_committed",
    "transaction.version": 2,
    "eos.offsets": "transaction",
    "eos.rewind": True,
    "eos.transactional.id": "shared",
}
QUIET = History([])


def context(bugs: frozenset[str] = frozenset(), **changed: Any) -> CheckContext:
    config = SAFE | {key.replace("_", "."): value for key, value in changed.items()}
    return CheckContext(workload="eos", config=config, bugs=bugs)


@pytest.mark.parametrize(
    ("anomaly", "changed"),
    [
        ("lost-write", {"acks": "1"}),
        ("lost-write", {"acks": "0"}),
        ("lost-write", {"min_insync_replicas": 1}),
        ("inconsistent-offsets", {"unclean_leader_election_enable": True}),
        ("duplicate", {"enable_idempotence": False}),
        ("duplicate", {"acks": "1"}),
        ("nonmonotonic-send", {"enable_idempotence": False}),
        ("aborted-read", {"isolation_level": "read_uncommitted"}),
        ("torn-txn", {"transaction_version": 1}),
        ("lso-stuck", {"transaction_partition_verification_enable": False}),
        ("lost-write", {"producer_clock_offset_ms": -120_000}),
    ],
)
def test_a_documented_consequence_is_the_configurations(anomaly: str, changed: dict[str, Any]) -> None:
    assert blame(anomaly, QUIET, context(**changed)) is Blame.CONFIGURATION
    assert blame(anomaly, QUIET, context()) is Blame.SERVER


@pytest.mark.parametrize("changed", [{"eos_offsets": "separate"}, {"eos_rewind": False}])
def test_an_application_written_so_is_the_workloads(changed: dict[str, Any]) -> None:
    assert blame("eos-loss", QUIET, context(**changed)) is Blame.WORKLOAD
    assert blame("lost-write", QUIET, context(**changed)) is Blame.SERVER


def test_a_setting_does_not_excuse_what_it_cannot_cause() -> None:
    assert blame("phantom-read", QUIET, context(acks="1")) is Blame.SERVER
    assert blame("lost-write", QUIET, context(isolation_level="read_uncommitted")) is Blame.SERVER


def test_a_mutant_is_the_servers() -> None:
    assert blame("lost-write", QUIET, context(frozenset({"truncate-to-hw"}), acks="1")) is Blame.SERVER


def power_losses(*events: tuple[str, str, int]) -> History:
    """(kind, node, fault)."""
    return History(
        Op(index=i, time=i, process=NEMESIS, type="ok", f=kind, value={"fault": fault, "targets": [node]})
        for i, (kind, node, fault) in enumerate(events)
    )


def test_more_power_losses_at_once_than_promised_are_the_configurations() -> None:
    together = power_losses(
        ("power", "b1", 0), ("power", "b2", 1), ("restart", "b1", 0), ("restart", "b2", 1)
    )
    one_by_one = power_losses(
        ("power", "b1", 0), ("restart", "b1", 0), ("power", "b2", 1), ("restart", "b2", 1)
    )
    assert blame("lost-write", together, context()) is Blame.CONFIGURATION
    assert blame("lost-write", one_by_one, context()) is Blame.SERVER
    flushed = CheckContext(config=SAFE | {"log.flush.interval.messages": 1})
    assert blame("lost-write", together, flushed) is Blame.SERVER


# ── a store of keys and values ───────────────────────────────────────────────────────────────────────────

STRICT: dict[str, Any] = {
    "conflict": "abd",
    "replication.factor": 3,
    "read.quorum": "QUORUM",
    "write.quorum": "QUORUM",
    "sloppy.quorum": False,
    "read.repair": "blocking",
    "lww.tie": "unique",
    "commitlog.sync": "batch",
    "tombstone.gc": "repair",
    "anti.entropy.interval.ms": 1000,
}


def store(workload: str = "register", bugs: frozenset[str] = frozenset(), **changed: Any) -> CheckContext:
    config = STRICT | {key.replace("_", "."): value for key, value in changed.items()}
    return CheckContext(workload=workload, config=config, bugs=bugs)


def faults(*kinds: tuple[str, str]) -> History:
    return History(
        [
            Op(index=n, time=n, process=NEMESIS, type="ok", f=kind, value={"fault": n, "targets": [target]})
            for n, (kind, target) in enumerate(kinds)
        ]
    )


@pytest.mark.parametrize(
    ("anomaly", "changed"),
    [
        ("nonlinearizable", {"conflict": "lww", "read.quorum": "ONE", "write.quorum": 1}),
        ("lost-write", {"sloppy.quorum": True}),
        ("lost-write", {"write.quorum": "ANY"}),
        ("nonmonotonic-read", {"conflict": "lww", "read.repair": "none"}),
        ("mixed-row", {"lww.tie": "value"}),
        ("resurrected-delete", {"tombstone.gc": "time"}),
        ("divergence", {"anti.entropy.interval.ms": 0}),
    ],
)
def test_a_store_that_is_told_to_is_not_to_blame(anomaly: str, changed: dict[str, Any]) -> None:
    assert blame(anomaly, QUIET, store(**changed)) is Blame.CONFIGURATION
    assert blame(anomaly, QUIET, store()) is Blame.SERVER
    assert blame(anomaly, QUIET, store(bugs=frozenset({"abd-no-write-back"}), **changed)) is Blame.SERVER


def test_clocks_power_and_disks_count_only_where_the_settings_lean_on_them() -> None:
    moved = faults(("clock", "n1"))
    assert blame("ryw-violation", moved, store(conflict="lww")) is Blame.CONFIGURATION
    assert blame("ryw-violation", moved, store()) is Blame.SERVER
    off = faults(("power", "n1"))
    assert blame("lost-write", off, store(commitlog_sync="periodic")) is Blame.CONFIGURATION
    assert blame("lost-write", off, store()) is Blame.SERVER
    assert blame("lost-write", faults(("wipe", "n1"), ("wipe", "n2")), store()) is Blame.CONFIGURATION
    assert blame("lost-write", faults(("wipe", "n1"), ("wipe", "n1")), store()) is Blame.SERVER


def test_consensus_leans_on_no_quorum_setting() -> None:
    assert blame("nonlinearizable", QUIET, store(conflict="raft", read_quorum="ONE")) is Blame.SERVER


@pytest.mark.parametrize(
    ("anomaly", "workload", "changed"),
    [
        ("lost-update", "set-rmw", {}),
        ("lost-update", "set-rmw", {"conflict": "raft", "set.update": "blind"}),
        ("counter-under", "counter", {"counter.style": "rmw"}),
        ("counter-over", "counter", {"counter.retry": True}),
        ("resurrected-element", "cart", {"cart.merge": "union"}),
    ],
)
def test_clients_that_read_change_and_write_back(
    anomaly: str, workload: str, changed: dict[str, Any]
) -> None:
    assert blame(anomaly, QUIET, store(workload, **changed)) is Blame.WORKLOAD


def test_updates_that_are_compared_are_the_servers() -> None:
    assert blame("lost-update", QUIET, store("set-rmw", conflict="raft")) is Blame.SERVER
    assert blame("counter-under", QUIET, store("counter")) is Blame.SERVER
