"""Whose an anomaly is, as far as history and declared configuration tell (DESIGN "Blame").

A documented consequence of a legal setting is the configuration's; of how the application is written, the
workload's; of a client library that is known for it, the client's; everything else is the server's. A
mutant that is switched on is the server's whatever the settings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.blame_in_store import blame_in_store
from harness.checker import CheckContext
from harness.history import History
from harness.results import Blame

TRUNCATION = frozenset(
    {
        "lost-write",
        "unseen",
        "inconsistent-offsets",
        "vanished-read",
        "nonmonotonic-end-offset",
        "nonmonotonic-poll",
        "poll-skip",
        "int-poll-skip",
        "offset-regression",
        "eos-loss",
        "eos-duplicate",
        "torn-txn",
        "compaction-lost-key",
        "compaction-resurrected-key",
        "consume-lost",
        "counter-under",
        "reordered",
    }
)
"""What the loss of acknowledged records can show as."""
REPETITION = frozenset(
    {"duplicate", "nonmonotonic-send", "int-nonmonotonic-send", "eos-duplicate", "counter-over", "reordered"}
)
DAY_MS = 24 * 3600 * 1000
MOST_LAG_MS = 120_000
"""A reader in a run may lag as much as that."""
UNCOMMITTED = frozenset(
    {
        "aborted-read",
        "precommitted-read",
        "torn-txn",
        "eos-duplicate",
        "G1c",
        "compaction-lost-key",
        "compaction-resurrected-key",
    }
)
"""What a reader of uncommitted records is shown: an aborted delete hides its key from it, too."""
TRANSACTIONAL = frozenset(
    {"aborted-read", "torn-txn", "lost-write", "unseen", "lso-stuck", "eos-loss", "eos-duplicate"}
)


def blame(anomaly: str, history: History, context: CheckContext) -> Blame:
    if context.bugs:
        return Blame.SERVER
    config = context.config
    if "conflict" in config:
        return blame_in_store(anomaly, history, context, without_power=most_without_power(history))
    if anomaly.startswith(("eos-", "offset-", "torn-")) and _application_is_unsafe(config):
        return Blame.WORKLOAD
    reasons = (
        anomaly in TRUNCATION and _may_truncate(history, config),
        anomaly in REPETITION and not _idempotent(config),
        anomaly in REPETITION | TRUNCATION and _acks(config) == "0",
        anomaly in UNCOMMITTED and config.get("isolation.level") == "read_uncommitted",
        anomaly == "compaction-resurrected-key" and _forgets_deletes(config),
        anomaly in TRANSACTIONAL
        and context.workload in ("eos", "txn")
        and (
            int(config.get("transaction.version", 2)) < 2
            or not config.get("transaction.partition.verification.enable", True)
        ),
        anomaly == "lost-write" and bool(config.get("producer.clock.offset.ms", 0)),
    )
    if any(reasons):
        return Blame.CONFIGURATION
    if str(config.get("client", "aiokafka")) == "aiokafka-plain" and anomaly in REPETITION:
        return Blame.CLIENT
    return Blame.SERVER


def _forgets_deletes(config: Mapping[str, Any]) -> bool:
    """A tombstone may go once it is as old as this: who lags more never sees it (semantics 2.6)."""
    return int(config.get("log.cleaner.delete.retention.ms", DAY_MS)) < MOST_LAG_MS


def _acks(config: Mapping[str, Any]) -> str:
    return str(config.get("acks", "all"))


def _idempotent(config: Mapping[str, Any]) -> bool:
    """Idempotence asks for acks=all; with less it is off, whatever it says."""
    return bool(config.get("enable.idempotence", True)) and _acks(config) in ("all", "-1")


def _application_is_unsafe(config: Mapping[str, Any]) -> bool:
    return (
        config.get("eos.offsets", "transaction") != "transaction"
        or config.get("eos.producer", "transactional") != "transactional"
        or not config.get("eos.rewind", True)
        or config.get("eos.transactional.id", "shared") != "shared"
    )


def _may_truncate(history: History, config: Mapping[str, Any]) -> bool:
    """Settings under which acknowledged records may be lost (semantics 3.1). `min.insync.replicas` copies
    survive the loss of all but one of them: as many brokers without power at once is more than was promised."""
    min_isr = int(config.get("min.insync.replicas", 2))
    if _acks(config) not in ("all", "-1"):
        return True
    if config.get("unclean.leader.election.enable", False):
        return True
    if min_isr < 2 or int(config.get("replication.factor", 3)) < 2:
        return True
    flushed = int(config.get("log.flush.interval.messages", 0)) == 1
    return not flushed and most_without_power(history) >= min_isr


def most_without_power(history: History) -> int:
    """The most nodes that were without power at the same time."""
    off: dict[str, int] = {}
    most = 0
    for fault in history.faults:
        value = fault.value if isinstance(fault.value, dict) else {}
        targets = [str(t) for t in value.get("targets") or ()]
        position = int(value.get("fault", -1))
        if fault.f == "power" and fault.type != "invoke":
            off.update(dict.fromkeys(targets, position))
        elif fault.f == "restart" and fault.type != "invoke":
            for target in targets:
                off.pop(target, None)
        most = max(most, len(off))
    return most
