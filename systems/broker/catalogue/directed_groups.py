"""Schedules for mistakes of consumer groups and of applications: whose members die, who is not heard, what lies unread.

Members of workload `group` are `client-2` to `client-7`; the first two fill its topic.
"""

from __future__ import annotations

from harness.catalogue import Directed
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut, kill, late
from systems.broker.catalogue.groups import IMPATIENT, RESTLESS, UNDISTURBED

MORTAL = UNDISTURBED | {
    "group.crash.probability": 0.1,
    "group.away.max.ms": 1_000,
    "session.timeout.ms": 3_000,
}
"""Members die at any step of a turn, and somebody goes on in their place."""
FORGOTTEN = {"offsets.retention.minutes": 0.03, "offsets.retention.check.interval.ms": 300}

# Who sends is silent for a while, so that the group has nothing to commit; then a member is thought dead.
_NOTHING_TO_COMMIT = Schedule(
    (
        cut("client-0+client-1", 3_000, 6_000),
        cut("client-3", 8_000, 5_000, direction="out"),
    )
)
# One partition's records wait for their readers, while those of other partitions are processed.
_ONE_PARTITION_WAITS = Schedule(
    tuple(
        cut(
            f"leader(events/{number})",
            3_000 + 4_000 * number,
            2_500,
            shape="clients",
            direction="out",
            how="hold",
        )
        for number in range(3)
    )
)
# A coordinator dies before the followers have heard how far its log is committed, and they ask each other for records
# late: its successor has to wait until its log's end is committed. Pipelines are impatient: who waits for the
# coordinator is replaced, and the new one asks it where to begin.
_COORDINATORS_LOAD_SLOWLY = Schedule(
    tuple(
        fault
        for turn in range(3)
        for fault in (
            kill("group-coordinator(sink)", 3_000 + 6_000 * turn, 5_000, step="group.offsets.committed"),
            late("brokers", 3_500 + 6_000 * turn, 5_000, 500, kinds=["fetch"]),
        )
    )
)
# The only replica in sync has been read to its end when it dies, and one that lags behind takes its place. By the time
# that the readers come back, others have written beyond where they stand.
_READERS_ARE_FURTHER_THAN_THE_NEXT_LEADER = Schedule(
    (
        cut("followers(events/1)", 7_500, 9_000, shape="peers"),
        kill("isr(events/1)", 10_000, 12_000),
        cut("client-2+client-3+client-4+client-5+client-6+client-7", 10_100, 8_000),
    )
)

SCHEDULES: dict[str, Directed] = {
    "commit-before-processing": Directed(
        workload="group", schedule=Schedule(), settings=MORTAL | {"group.policy": "commit-before"}, rate=100.0
    ),
    "commit-after-processing": Directed(
        workload="group",
        schedule=Schedule(),
        settings=MORTAL | {"group.policy": "commit-after", "group.once": True},
        rate=100.0,
    ),
    "auto-commit-async-processing": Directed(
        workload="group",
        schedule=Schedule(),
        settings=MORTAL | {"group.policy": "auto-commit-async"},
        rate=100.0,
    ),
    "reset-to-latest": Directed(
        workload="group",
        schedule=Schedule(),
        settings=UNDISTURBED
        | FORGOTTEN
        | {"group.break.ms": 6_000, "session.timeout.ms": 3_000, "auto.offset.reset": "latest"},
    ),
    "reset-latest-on-new-partition": Directed(
        workload="group",
        schedule=Schedule(),
        settings=UNDISTURBED
        | {"group.grow.to": 6, "metadata.max.age.ms": 3_000, "auto.offset.reset": "latest"},
        time_limit_ms=12_000,
        rate=80.0,
    ),
    "consumer-position-past-truncation": Directed(
        workload="group",
        schedule=_READERS_ARE_FURTHER_THAN_THE_NEXT_LEADER,
        settings=UNDISTURBED
        | {
            "unclean.leader.election.enable": True,
            "min.insync.replicas": 1,
            "replica.lag.time.max.ms": 1_000,
            "group.partitions": 2,
        },
        time_limit_ms=25_000,
        rate=80.0,
    ),
    "lock-by-redelivery": Directed(
        workload="group",
        schedule=Schedule(
            tuple(
                cut(f"client-{number}", 4_000 + 3_000 * number, 5_000, direction="out") for number in (2, 3)
            )
        ),
        settings=IMPATIENT
        | UNDISTURBED
        | {"group.lock": "ownership", "group.stall.probability": 0.05, "group.partitions": 2},
        rate=80.0,
    ),
    "assign-before-revoke-ack": Directed(
        workload="rebalance-storm", schedule=Schedule(), time_limit_ms=15_000, rate=100.0
    ),
    "coordinator-serves-while-loading": Directed(
        workload="sink",
        schedule=_COORDINATORS_LOAD_SLOWLY,
        settings=RESTLESS,
    ),
    "spurious-offset-zero-or-minus-one": Directed(
        workload="sink",
        schedule=_COORDINATORS_LOAD_SLOWLY,
        settings=RESTLESS,
    ),
    "offsets-expired-early": Directed(
        workload="group",
        schedule=_NOTHING_TO_COMMIT,
        settings=UNDISTURBED | FORGOTTEN | {"session.timeout.ms": 3_000},
        rate=80.0,
    ),
    "partitioner-mismatch": Directed(
        workload="keyed-order",
        schedule=_ONE_PARTITION_WAITS,
        settings={"keyed-order.partitioner": "mixed"},
        time_limit_ms=16_000,
        rate=80.0,
    ),
    "partition-count-change": Directed(
        workload="keyed-order",
        schedule=_ONE_PARTITION_WAITS,
        settings={"keyed-order.grow.to": 12},
        time_limit_ms=16_000,
        rate=80.0,
    ),
    "retention-deletes-unread": Directed(
        workload="slow-consumer",
        schedule=Schedule(),
        settings={"log.retention.bytes": 2_000, "log.segment.bytes": 1_024},
    ),
    "offsets-outside-the-sink": Directed(
        workload="sink",
        schedule=Schedule(
            (kill("group-coordinator(sink)", 4_000, 2_000), kill("group-coordinator(sink)", 10_000, 2_000))
        ),
        settings={"sink.mode": "insert", "sink.crash.probability": 0.1},
        time_limit_ms=16_000,
        rate=80.0,
    ),
}
