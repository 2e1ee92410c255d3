"""Consumer groups: when they commit, who may, and what their coordinator remembers."""

from __future__ import annotations

from harness.catalogue import Directed, Entry
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut

UNDISTURBED = {
    "group.crash.probability": 0,
    "group.leave.probability": 0,
    "group.stall.probability": 0,
}
"""The schedule does the breaking."""
IMPATIENT = {"session.timeout.ms": 3_000, "max.poll.interval.ms": 4_000, "group.stall.probability": 0.04}
"""Members hang for longer than their group waits for them."""
FORGETFUL = UNDISTURBED | {
    "offsets.retention.minutes": 0.03,
    "offsets.retention.check.interval.ms": 300,
    "group.break.ms": 12_000,
    "session.timeout.ms": 3_000,
}
"""Everybody leaves for longer than the group's offsets are kept."""
RESTLESS = {
    "sink.mode": "upsert",
    "sink.pipelines": 3,
    "sink.crash.probability": 0.2,
    "op.timeout.ms": 2_500,
}
"""Whoever waits for long is replaced, and the new one asks the group where to begin."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="commit-before-processing",
        kind="configuration",
        mechanism="offsets are committed when records are handed out, and a crash before the processing loses them",
        source="librdkafka#1122, #2609; Strimzi, optimizing consumers",
        expect=("consume-lost",),
        workload="group",
        nemesis="kill",
        settings={"group.policy": "commit-before", "group.crash.probability": 0.05},
        safe={"group.policy": "commit-after"},
        remedy="commit after processing",
    ),
    Entry(
        name="commit-after-processing",
        kind="configuration",
        mechanism="offsets are committed after processing, and a crash between the two repeats what an application that "
        "counts on exactly-once has done already",
        source="KAFKA-3824; Kafka's design documentation, message delivery semantics",
        expect=("consume-duplicate",),
        workload="group",
        nemesis="kill",
        settings={"group.policy": "commit-after", "group.once": True, "group.crash.probability": 0.05},
        safe={"group.policy": "eos"},
        remedy="effects and offsets in one transaction, or effects that can be repeated",
    ),
    Entry(
        name="auto-commit-async-processing",
        kind="configuration",
        priority=2,
        mechanism="auto-commit commits what earlier polls returned, while it is still being processed",
        source="jepsen.io/analyses/bufstream-0.1.0 (update of 2024-11-13); KAFKA-3824",
        expect=("consume-lost",),
        workload="group",
        nemesis="kill",
        settings={"group.policy": "auto-commit-async", "group.crash.probability": 0.05},
        safe={"group.policy": "auto-commit"},
        remedy="process before the next poll, or commit by hand",
    ),
    Entry(
        name="reset-to-latest",
        kind="configuration",
        priority=2,
        mechanism="a group whose offsets have expired begins at the end, and never reads what was written meanwhile",
        source="KIP-211; Kafka's documentation of auto.offset.reset",
        expect=("consume-lost",),
        workload="group",
        settings=FORGETFUL | {"auto.offset.reset": "latest"},
        safe={"offsets.retention.minutes": 10_080.0, "auto.offset.reset": "earliest"},
        remedy="offsets.retention.minutes beyond any outage, auto.offset.reset=earliest",
    ),
    Entry(
        name="reset-latest-on-new-partition",
        kind="configuration",
        priority=2,
        mechanism="a group that comes to know of a new partition begins at its end, and never reads what was written before",
        source="KAFKA-20539; Kafka's documentation of auto.offset.reset",
        expect=("consume-lost",),
        workload="group",
        settings={"group.grow.to": 8, "metadata.max.age.ms": 3_000, "auto.offset.reset": "latest"},
        safe={"auto.offset.reset": "earliest"},
        remedy="auto.offset.reset=earliest (or by_duration)",
    ),
    Entry(
        name="consumer-position-past-truncation",
        kind="configuration",
        priority=2,
        mechanism="after an unclean election the log ends, or goes on with other records, before a group's position: nobody "
        "compares epochs, and the group goes on behind what it never read",
        source="KIP-320; KAFKA-20507",
        expect=("consume-lost", "poll-skip", "nonmonotonic-poll"),
        workload="group",
        nemesis="unclean",
        settings={"unclean.leader.election.enable": True, "min.insync.replicas": 1},
        safe={"unclean.leader.election.enable": False},
        remedy="no unclean election; or consumers that validate their position by its leader epoch (KIP-320)",
    ),
    Entry(
        name="generation-not-fenced",
        mechanism="offset commits of an older generation are accepted",
        source="KAFKA-2555; KIP-1251",
        expect=("offset-regression", "dual-ownership", "consume-lost"),
        workload="group",
        nemesis="pause",
        settings=IMPATIENT,
        remedy="ILLEGAL_GENERATION",
        # Two members go silent for longer than their sessions, and commit what they had read when they can speak again.
        directed=Directed(
            workload="group",
            schedule=Schedule(
                tuple(
                    cut(f"client-{number}", 6_000 + 8_000 * turn, 5_000, direction="out", how="hold")
                    for turn, number in enumerate((2, 3))
                )
            ),
            settings=UNDISTURBED | IMPATIENT | {"group.stall.probability": 0.08},
            time_limit_ms=30_000,
            rate=80.0,
        ),
    ),
    Entry(
        name="lock-by-redelivery",
        kind="configuration",
        priority=3,
        mechanism="an application takes its partition, or a message that is not acknowledged, for a lock: when it hangs somebody "
        "else is given it, and both work",
        source="aphyr.com/posts/315 (RabbitMQ); jepsen.io/analyses/etcd-3.4.3 (locks)",
        expect=("dual-ownership",),
        workload="group",
        nemesis="pause",
        settings=IMPATIENT | {"group.lock": "ownership"},
        safe={"group.lock": "fenced"},
        remedy="what the lock protects compares fencing tokens: the generation",
    ),
    Entry(
        name="assign-before-revoke-ack",
        mechanism="partitions are given to new members before the old ones have let go of them",
        source="KIP-848 (the coordinator waits for the previous owner's word)",
        expect=("dual-ownership", "offset-regression"),
        workload="group",
        nemesis="none",
        settings={"group.leave.probability": 0.04, "group.away.max.ms": 1_000},
        remedy="the join barrier waits for every member of the last generation, or expels it",
    ),
    Entry(
        name="coordinator-serves-while-loading",
        priority=2,
        mechanism="a new coordinator says that nothing is committed while it has yet to replay its log",
        source="KAFKA-2163; apache/kafka#2436",
        expect=("offset-regression", "eos-duplicate", "consume-lost"),
        workload="sink",
        nemesis="kill+slow",
        settings=RESTLESS,
        remedy="COORDINATOR_LOAD_IN_PROGRESS until the replay is complete",
    ),
    Entry(
        name="spurious-offset-zero-or-minus-one",
        priority=2,
        mechanism="who cannot answer at the moment answers with an offset all the same: nothing is committed, the log ends "
        "at 0",
        source="redpanda-data/redpanda#6301; jepsen.io/analyses/bufstream-0.1.0",
        expect=("offset-regression", "eos-duplicate", "consume-lost", "nonmonotonic-end-offset"),
        workload="sink",
        nemesis="kill",
        settings=RESTLESS,
        remedy="an error code, never an offset that nobody knows",
    ),
    Entry(
        name="offsets-expired-early",
        priority=2,
        mechanism="committed offsets expire while the group's members live",
        source="KAFKA-8069; apache/kafka#6401; KIP-211",
        expect=("offset-regression", "consume-lost"),
        workload="group",
        settings={
            "offsets.retention.minutes": 0.02,
            "offsets.retention.check.interval.ms": 200,
            "group.stall.probability": 0.05,
            "group.leave.probability": 0.03,
        },
        remedy="offsets expire only when the group has no members, counted from when it lost the last",
    ),
)
