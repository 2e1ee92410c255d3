"""Schedules that reach a mistake by themselves: who is cut off, killed or without power, and when.

Of mistakes whose own entry has none. What is under way when a fault strikes differs from seed to seed.
"""

from __future__ import annotations

from harness.catalogue import Directed
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut, kill, power

LEADER = "leader(orders/0)"
FOLLOWERS = "followers(orders/0)"


# The leader is alone with its clients, and does not know yet that another one is elected.
_LEADER_ALONE = Schedule((cut(LEADER, 3_000, 8_000),))
# The leader is the only one in sync; then its machine loses power.
_LAST_IN_SYNC = Schedule((cut(FOLLOWERS, 3_000, 14_000, shape="peers"), power(LEADER, 11_000, 4_000)))
# What a leader says to clients is lost, what they say arrives: they send it again.
_ANSWERS_LOST = Schedule(
    tuple(
        cut(f"leader(orders/{number})", 3_000 + 4_000 * number, 3_000, shape="clients", direction="out")
        for number in range(3)
    )
)
_COORDINATORS_DIE = Schedule(
    (
        kill("coordinator(eos-0)", 3_000, 2_000),
        kill("group-coordinator(eos)", 7_000, 2_000),
        kill("coordinator(eos-0)", 11_000, 2_000),
    )
)

SCHEDULES: dict[str, Directed] = {
    "acks0-fire-and-forget": Directed(
        workload="produce", schedule=_LEADER_ALONE, settings={"acks": "0", "enable.idempotence": False}
    ),
    "acks1-leader-only": Directed(workload="produce", schedule=_LEADER_ALONE, settings={"acks": "1"}),
    "acks-all-isr-shrunk-to-one": Directed(
        workload="produce", schedule=_LAST_IN_SYNC, settings={"min.insync.replicas": 1}
    ),
    "unclean-election": Directed(
        workload="produce",
        schedule=Schedule(
            (cut(FOLLOWERS, 3_000, 9_000, shape="peers"), kill("isr(orders/0)", 10_000, 9_000))
        ),
        settings={"unclean.leader.election.enable": True, "min.insync.replicas": 1},
        time_limit_ms=25_000,
    ),
    "replication-factor-one": Directed(
        workload="produce",
        schedule=Schedule((power(LEADER, 6_000, 3_000),)),
        settings={"replication.factor": 1, "min.insync.replicas": 1},
    ),
    "all-replicas-power-loss-async-flush": Directed(
        workload="produce",
        schedule=Schedule((power("brokers", 6_000, 3_000), power("brokers", 13_000, 3_000))),
        rate=100.0,
    ),
    "last-replica-standing": Directed(workload="produce", schedule=_LAST_IN_SYNC),
    "hw-advances-below-min-isr": Directed(workload="produce", schedule=_LAST_IN_SYNC),
    "read-above-hw": Directed(workload="produce", schedule=_LEADER_ALONE, rate=100.0),
    "retry-duplicate": Directed(
        workload="produce", schedule=_ANSWERS_LOST, settings={"enable.idempotence": False}
    ),
    "producer-state-expired": Directed(
        workload="produce",
        schedule=_ANSWERS_LOST,
        settings={"producer.id.expiration.ms": 500, "log.retention.check.interval.ms": 200},
    ),
    "read-uncommitted": Directed(
        workload="eos", schedule=Schedule(), settings={"isolation.level": "read_uncommitted"}
    ),
    "offsets-outside-txn": Directed(
        workload="eos", schedule=_COORDINATORS_DIE, settings={"eos.offsets": "separate"}, rate=100.0
    ),
    "consumer-not-rewound-after-abort": Directed(
        workload="eos", schedule=Schedule(), settings={"eos.rewind": False}
    ),
    "zombie-producer-not-fenced": Directed(workload="eos", schedule=Schedule()),
}
