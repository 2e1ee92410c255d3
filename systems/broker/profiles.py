"""Named sets of settings: what deployments promise by them, from the fewest guarantees to the most."""

from __future__ import annotations

from collections.abc import Mapping

from harness.settings import Value

_SAFE: Mapping[str, Value] = {
    "acks": "all",
    "enable.idempotence": True,
    "replication.factor": 3,
    "min.insync.replicas": 2,
    "unclean.leader.election.enable": False,
    "eligible.leader.replicas.version": 1,
    "transaction.version": 2,
    "isolation.level": "read_committed",
}

PROFILES: Mapping[str, Mapping[str, Value]] = {
    "fire-and-forget": {"acks": "0", "enable.idempotence": False, "retries": 0},
    "at-most-once": {"acks": "all", "enable.idempotence": False, "retries": 0},
    "leader-only": {"acks": "1", "enable.idempotence": False},
    "at-least-once": {"acks": "all", "enable.idempotence": False},
    "last-replica-standing": {
        "acks": "all",
        "min.insync.replicas": 1,
        "eligible.leader.replicas.version": 0,
    },
    "exactly-once": {
        "acks": "all",
        "enable.idempotence": True,
        "transaction.version": 2,
        "isolation.level": "read_committed",
    },
    "safe": _SAFE,
    "paranoid": {**_SAFE, "log.flush.interval.messages": 1},
}
