"""Transactions: producers, the coordinator, markers, offsets, and the application around them."""

from __future__ import annotations

from harness.catalogue import Directed, Entry
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut, kill

TORN = ("torn-txn", "aborted-read", "lost-write", "eos-duplicate", "eos-loss")
UNDISTURBED = {"eos.stall.probability": 0, "eos.crash.probability": 0}
"""The schedule does the breaking."""
BY_THE_GROUP = UNDISTURBED | {"eos.assignment": "subscribe", "session.timeout.ms": 3000}
ABANDONED = {
    "eos.transactional.id": "instance",
    "eos.crash.probability": 0.1,
    "eos.stall.probability": 0,
    "transaction.timeout.ms": 4000,
}
"""Nobody takes the transactions of the dead over: only the clock ends them."""
LONGER_THAN_THE_SESSION = Schedule(
    tuple(cut(f"client-{number}", 5_000 + 9_000 * turn, 6_500) for turn, number in enumerate((2, 3, 4)))
)
"""Pipelines that find themselves replaced when they can speak again."""

SLOW_MEMBERS = {
    "group.partitions": 4,
    "group.record.ms": 60,
    "group.crash.probability": 0,
    "group.stall.probability": 0,
    "group.leave.probability": 0.06,
    "group.away.max.ms": 500,
    "request.timeout.ms": 8000,
    "offsets.commit.timeout.ms": 8000,
    "broker.session.timeout.ms": 1000,
    "broker.heartbeat.interval.ms": 200,
}
"""Commits are seldom, and waited for until long after another coordinator is elected; members that have nothing to do
come and go, so that the others are asked again and again where they are."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="read-uncommitted",
        kind="configuration",
        mechanism="consumers read to the high watermark whatever became of the transaction",
        source="Kafka's consumer documentation; redpanda-data/redpanda#6630",
        expect=("aborted-read",),
        workload="eos",
        settings={"isolation.level": "read_uncommitted"},
        safe={"isolation.level": "read_committed"},
        remedy="isolation.level=read_committed",
    ),
    Entry(
        name="aborted-index-wrong",
        mechanism="a fetch does not name the aborted transactions in it",
        source="redpanda-data/redpanda#10671, #11309",
        expect=("aborted-read",),
        workload="eos",
        remedy="the list is derived from the log",
        directed=Directed(workload="eos", schedule=Schedule()),
    ),
    Entry(
        name="delayed-endtxn-hits-next-txn",
        kind="configuration",
        mechanism="a late EndTxn of one transaction ends the next one of the same producer epoch",
        source="KIP-890; jepsen.io/analyses/bufstream-0.1.0",
        expect=TORN,
        workload="eos",
        nemesis="partition",
        settings={"transaction.version": 1, "sim.latency.min.ms": 4, "sim.latency.max.ms": 16},
        safe={"transaction.version": 2},
        remedy="every transaction has its own producer epoch (transaction.version=2)",
    ),
    Entry(
        name="late-produce-after-abort",
        mechanism="a record that arrives after its transaction was aborted opens another one",
        source="KIP-890; KAFKA-12671",
        expect=(*TORN, "lso-stuck"),
        workload="eos",
        nemesis="partition",
        settings={"transaction.version": 1},
        remedy="leaders ask the coordinator before the first record",
    ),
    Entry(
        name="write-without-add-partition",
        kind="configuration",
        priority=2,
        mechanism="a client writes to partitions that it has not added to its transaction, and no marker is ever sent "
        "there",
        source="KIP-890, buggy clients",
        expect=("lso-stuck",),
        workload="txn",
        settings={
            "transaction.add.partitions": "first",
            "transaction.partition.verification.enable": False,
        },
        safe={"transaction.partition.verification.enable": True},
        remedy="leaders ask the coordinator before the first record (transaction.partition.verification.enable=true)",
    ),
    Entry(
        name="zombie-producer-not-fenced",
        mechanism="the coordinator takes requests of an older producer epoch",
        source="KIP-98",
        expect=TORN,
        workload="eos",
        nemesis="pause",
        remedy="InitProducerId bumps the epoch, and all requests are fenced by it",
    ),
    Entry(
        name="prepare-not-durable",
        mechanism="markers are written before the decision is replicated",
        source="KIP-98, transaction log",
        expect=("torn-txn", "lost-write"),
        workload="eos",
        nemesis="partition+kill",
        remedy="markers only once the decision is below the high watermark",
        # A follower of the transaction log misses the decision, the coordinator dies with its markers half sent,
        # and the follower takes over.
        directed=Directed(
            workload="eos",
            schedule=Schedule(
                (
                    cut(
                        "one-of(followers(__transaction_state/0))",
                        5_000,
                        9_000,
                        shape="peers",
                        step="group.transactional_offsets.pending",
                    ),
                    kill("coordinator(eos-0)", 5_000, 12_000, step="coordinator.marker.sent"),
                )
            ),
            settings=UNDISTURBED | {"eos.pipelines": 1, "eos.abort.probability": 0},
            time_limit_ms=22_000,
            rate=400.0,
        ),
    ),
    Entry(
        name="marker-acked-before-replicated",
        priority=2,
        mechanism="a marker counts as written when the leader alone has it",
        source="KAFKA-5128; apache/kafka#2910",
        expect=("torn-txn", "lost-write"),
        workload="eos",
        nemesis="partition+kill",
        remedy="markers are written with acks=all",
        # b3 leads output/3 and dies with a marker that b5, next in its ISR and cut off from it, has never seen.
        # Neither keeps the transaction log, so that the coordinator can note that all is done: the next transaction
        # of the producer decides on these records too.
        directed=Directed(
            workload="eos",
            schedule=Schedule(
                (
                    cut("b5", 5_000, 7_000, shape="peers", step="group.transactional_offsets.pending"),
                    kill("b3", 6_500, 8_000),
                )
            ),
            settings=UNDISTURBED | {"eos.pipelines": 1, "eos.abort.probability": 0.5},
            time_limit_ms=24_000,
            rate=300.0,
            nodes=5,
        ),
    ),
    Entry(
        name="commit-retry-not-idempotent",
        mechanism="the retry of a commit whose answer was lost gets a definite error",
        source="redpanda-data/redpanda#3501",
        expect=("aborted-read",),
        workload="eos",
        nemesis="partition",
        remedy="the same epoch and outcome again is success",
        # The decision is durable, its answer lost; the producer asks again.
        directed=Directed(
            workload="eos",
            schedule=Schedule(
                (cut("clients", 5_000, 4_500, direction="in", step="coordinator.prepare_commit.written"),)
            ),
        ),
    ),
    Entry(
        name="txn-timeout-not-enforced",
        priority=2,
        mechanism="the coordinator never aborts an expired transaction",
        source="KAFKA-5132",
        expect=("lso-stuck", "eos-loss"),
        workload="eos",
        nemesis="kill",
        settings=ABANDONED,
        remedy="expiry fences the producer and aborts",
    ),
    Entry(
        name="offsets-outside-txn",
        kind="configuration",
        mechanism="the consumer's offsets are committed apart from the transaction of the output",
        source="KIP-98, KIP-447",
        expect=("eos-duplicate", "eos-loss"),
        workload="eos",
        nemesis="kill",
        settings={"eos.offsets": "separate"},
        safe={"eos.offsets": "transaction"},
        remedy="sendOffsetsToTransaction",
    ),
    Entry(
        name="txn-offset-commit-not-group-fenced",
        mechanism="offsets of a former member are taken into a transaction",
        source="KIP-447; KAFKA-15449",
        expect=("eos-duplicate",),
        workload="eos",
        nemesis="pause",
        settings=BY_THE_GROUP,
        remedy="group metadata is validated",
        directed=Directed(
            workload="eos",
            schedule=LONGER_THAN_THE_SESSION,
            settings=BY_THE_GROUP,
            time_limit_ms=32_000,
        ),
    ),
    Entry(
        name="consumer-not-rewound-after-abort",
        kind="configuration",
        mechanism="after an abort the client keeps its position, and the next commit skips the input",
        source="jepsen-io/redpanda, workload abort; KAFKA-17582",
        expect=("eos-loss",),
        workload="eos",
        settings={"eos.rewind": False},
        safe={"eos.rewind": True},
        remedy="seek to the committed offsets after an abort",
    ),
    Entry(
        name="coordinator-serves-without-lease",
        priority=2,
        mechanism="a deposed coordinator that slept answers from memory until it hears of its deposition",
        source="stale reads of replicated state machines; found here",
        expect=("eos-duplicate", "offset-regression"),
        workload="eos",
        nemesis="pause",
        remedy="answers only under a lease that ends before leadership can move",
    ),
    Entry(
        name="stale-group-coordinator-acks",
        priority=2,
        mechanism="a deposed coordinator takes the high watermark that it follows for the replication of what it wrote "
        "itself, and acknowledges offsets that were cut off its log",
        source="KAFKA-20634; apache/kafka#22444",
        expect=("offset-regression",),
        workload="group",
        nemesis="partition",
        settings=SLOW_MEMBERS,
        remedy="a write that waits for replication fails with its leader epoch",
    ),
)
