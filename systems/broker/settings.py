"""What `--set` understands: the broker's keys under Kafka's own names, and those of its clients.

Time-outs are shorter than Kafka's defaults, so that a minute's test sees several failovers.
"""

from __future__ import annotations

from harness.settings import Setting
from systems.kafka.settings import CLIENT_SETTINGS

MAX_LONG = 9223372036854775807

BROKER: tuple[Setting, ...] = (
    Setting(
        name="replication.factor", default=3, minimum=1, scope="topic", doc="Replicas of each partition."
    ),
    Setting(
        name="min.insync.replicas",
        default=2,
        minimum=1,
        scope="topic",
        doc="Smallest ISR with which acks=all writes are accepted and the high watermark moves.",
    ),
    Setting(
        name="unclean.leader.election.enable",
        default=False,
        scope="topic",
        doc="Whether a replica that lacks committed records may lead when no other can.",
    ),
    Setting(
        name="unclean.recovery.strategy",
        default="balanced",
        choices=("balanced", "aggressive", "none"),
        scope="topic",
        doc="Who leads where ISR and ELR are empty (KIP-966). balanced: once all last known members have shown "
        "their logs, the one that reaches furthest; aggressive: after a while the furthest of those that "
        "answered; none: nobody.",
    ),
    Setting(
        name="log.flush.interval.messages",
        default=MAX_LONG,
        minimum=1,
        scope="topic",
        doc="1: an append counts as a copy only once it is fsynced. Any other value leaves flushing to the "
        "operating system, as Kafka does by default.",
    ),
    Setting(
        name="log.segment.bytes",
        default=1 << 20,
        minimum=1024,
        scope="topic",
        doc="A log segment's size; producer state is snapshotted where a segment ends.",
    ),
    Setting(
        name="log.cleanup.policy",
        default="delete",
        choices=("delete", "compact", "compact,delete", "delete,compact"),
        scope="topic",
        doc="delete: what is beyond retention goes, whole segments at a time. compact: of each key the last record "
        "stays.",
    ),
    Setting(
        name="log.cleaner.backoff.ms",
        default=1000,
        minimum=10,
        scope="broker",
        doc="How often a broker looks for logs to compact.",
    ),
    Setting(
        name="log.cleaner.min.cleanable.ratio",
        default=0.5,
        minimum=0,
        maximum=1,
        scope="topic",
        doc="Share of a log that must be new before it is compacted again.",
    ),
    Setting(
        name="log.cleaner.delete.retention.ms",
        default=86_400_000,
        minimum=0,
        scope="topic",
        doc="How long a tombstone, or the marker of a transaction of which nothing is left, stays once compaction has "
        "come to it. A reader that lags more misses deletes.",
    ),
    Setting(
        name="log.cleaner.min.compaction.lag.ms",
        default=0,
        minimum=0,
        scope="topic",
        doc="Age below which a record is not compacted.",
    ),
    Setting(
        name="log.cleaner.max.compaction.lag.ms",
        default=MAX_LONG,
        minimum=1,
        scope="topic",
        doc="Age at which a record is compacted however little is new.",
    ),
    Setting(
        name="log.retention.ms",
        default=604_800_000,
        minimum=-1,
        scope="topic",
        doc="Age at which a segment is removed, by its largest timestamp; -1: never.",
    ),
    Setting(
        name="log.retention.bytes",
        default=-1,
        minimum=-1,
        scope="topic",
        doc="Size of a partition above which its oldest segments are removed; -1: any size.",
    ),
    Setting(
        name="log.roll.ms",
        default=604_800_000,
        minimum=1,
        scope="topic",
        doc="Age at which a segment gets a successor although it is not full.",
    ),
    Setting(
        name="log.retention.check.interval.ms",
        default=1000,
        minimum=10,
        scope="broker",
        doc="How often a broker looks for segments beyond retention.",
    ),
    Setting(
        name="producer.id.expiration.ms",
        default=86_400_000,
        minimum=1,
        scope="broker",
        doc="After this without a record a partition forgets a producer's sequence: a retry that comes later "
        "is taken for something new.",
    ),
    Setting(
        name="message.max.bytes", default=1_048_588, minimum=100, scope="topic", doc="Largest record batch."
    ),
    Setting(
        name="log.message.timestamp.type",
        default="CreateTime",
        choices=("CreateTime", "LogAppendTime"),
        scope="topic",
        doc="Whose clock stamps records.",
    ),
    Setting(
        name="num.partitions", default=1, minimum=1, scope="broker", doc="Of automatically created topics."
    ),
    Setting(
        name="auto.create.topics.enable",
        default=False,
        scope="broker",
        doc="Whether asking for a topic's metadata creates it.",
    ),
    Setting(
        name="broker.heartbeat.interval.ms",
        default=500,
        minimum=10,
        scope="broker",
        doc="How often a broker reports to the active controller.",
    ),
    Setting(
        name="broker.session.timeout.ms",
        default=3000,
        minimum=50,
        scope="broker",
        doc="Silence after which the controller fences a broker.",
    ),
    Setting(
        name="controller.quorum.election.timeout.ms",
        default=1000,
        minimum=50,
        scope="broker",
        doc="Silence of the active controller after which another one stands for election.",
    ),
    Setting(
        name="controller.quorum.fetch.timeout.ms",
        default=2000,
        minimum=50,
        scope="broker",
        doc="Time without a majority after which the active controller resigns.",
    ),
    Setting(
        name="controller.quorum.append.max.entries",
        default=64,
        minimum=1,
        scope="broker",
        doc="Entries of the metadata log that one controller sends another at once.",
    ),
    Setting(
        name="replica.lag.time.max.ms",
        default=2000,
        minimum=50,
        scope="broker",
        doc="How long a follower may lag before its leader proposes to drop it from the ISR.",
    ),
    Setting(
        name="replica.fetch.wait.max.ms",
        default=500,
        minimum=0,
        scope="broker",
        doc="How long a leader holds a follower's fetch when there is nothing new.",
    ),
    Setting(
        name="replica.fetch.min.bytes",
        default=1,
        minimum=0,
        scope="broker",
        doc="What a follower's fetch waits for.",
    ),
    Setting(
        name="replica.fetch.max.bytes",
        default=1 << 20,
        minimum=1024,
        scope="broker",
        doc="Most bytes of one partition in a follower's fetch.",
    ),
    Setting(
        name="replica.fetch.response.max.bytes",
        default=10 << 20,
        minimum=1024,
        scope="broker",
        doc="Most bytes of a follower's whole fetch.",
    ),
    Setting(
        name="replica.fetch.backoff.ms",
        default=100,
        minimum=1,
        scope="broker",
        doc="A follower's pause after a failed fetch.",
    ),
    Setting(
        name="replica.socket.timeout.ms",
        default=2000,
        minimum=50,
        scope="broker",
        doc="How long beyond its wait a follower's fetch may take.",
    ),
    Setting(
        name="eligible.leader.replicas.version",
        default=1,
        minimum=0,
        maximum=1,
        scope="broker",
        doc="1: replicas known to hold every committed record stay electable while the ISR is too small "
        "(KIP-966).",
    ),
    Setting(
        name="unclean.recovery.timeout.ms",
        default=5000,
        minimum=0,
        scope="broker",
        doc="How long an aggressive recovery waits for the logs of all last known members.",
    ),
    Setting(
        name="transaction.version",
        default=2,
        minimum=0,
        maximum=2,
        scope="broker",
        doc="2: every transaction has its own producer epoch (KIP-890). Below, a delayed request of one "
        "transaction can hit the next.",
    ),
    Setting(
        name="transaction.partition.verification.enable",
        default=True,
        scope="broker",
        doc="Whether a leader asks the coordinator before the first record of a transaction (KIP-890).",
    ),
    Setting(
        name="transaction.max.timeout.ms",
        default=60_000,
        minimum=1000,
        scope="broker",
        doc="Largest transaction.timeout.ms that a producer may ask for.",
    ),
    Setting(
        name="transaction.abort.timed.out.transaction.cleanup.interval.ms",
        default=1000,
        minimum=10,
        scope="broker",
        doc="How often the coordinator looks for transactions that have timed out.",
    ),
    Setting(
        name="transaction.state.log.num.partitions",
        default=4,
        minimum=1,
        scope="broker",
        doc="Partitions of __transaction_state: how many brokers coordinate transactions.",
    ),
    Setting(
        name="offsets.topic.num.partitions",
        default=4,
        minimum=1,
        scope="broker",
        doc="Partitions of __consumer_offsets: how many brokers coordinate groups.",
    ),
    Setting(
        name="offsets.commit.timeout.ms",
        default=5000,
        minimum=50,
        scope="broker",
        doc="How long a coordinator waits for its own write to be replicated.",
    ),
    Setting(
        name="offsets.retention.minutes",
        default=10_080.0,
        minimum=0.001,
        scope="broker",
        doc="How long a group without members keeps its committed offsets; fractions of a minute are fine.",
    ),
    Setting(
        name="offsets.retention.check.interval.ms",
        default=600_000,
        minimum=1,
        scope="broker",
        doc="How often a coordinator looks for offsets that have expired.",
    ),
    Setting(
        name="fetch.sendfile.min.bytes",
        default=65_536,
        minimum=1,
        scope="broker",
        doc="From this size on what a fetch gets of a partition goes from the file to the socket without being read, "
        "on backends with real files. Apache Kafka always does so.",
    ),
    Setting(
        name="quota.producer.default",
        default=MAX_LONG,
        minimum=1,
        scope="broker",
        doc="Bytes a second that a client id may produce to one broker where no quota was altered for it; the "
        "largest number: any.",
    ),
    Setting(
        name="quota.consumer.default",
        default=MAX_LONG,
        minimum=1,
        scope="broker",
        doc="The same for what a client id may fetch.",
    ),
    Setting(
        name="quota.request.percentage.default",
        default=0.0,
        minimum=0,
        scope="broker",
        doc="Percent of a thread's time that a client id may take of one broker; 0: any. The time is estimated: 100 µs "
        "a request and 1 ns a byte. Apache Kafka has this quota only as altered.",
    ),
    Setting(
        name="quota.window.num",
        default=11,
        minimum=2,
        scope="broker",
        doc="Windows over which a client's rate is taken; the burst that is free of a quota is all but one long.",
    ),
    Setting(
        name="quota.window.size.seconds",
        default=1,
        minimum=1,
        scope="broker",
        doc="Length of one window.",
    ),
    Setting(
        name="group.initial.rebalance.delay.ms",
        default=500,
        minimum=0,
        scope="broker",
        doc="How long an empty group waits for more members before its first generation.",
    ),
    Setting(
        name="group.consumer.session.timeout.ms",
        default=6000,
        minimum=1,
        scope="broker",
        doc="After this silence a group of the new protocol (`group.protocol=consumer`) expels a member.",
    ),
    Setting(
        name="group.consumer.heartbeat.interval.ms",
        default=500,
        minimum=1,
        scope="broker",
        doc="How often a member of the new protocol shall be heard of; it is told so by the coordinator.",
    ),
    Setting(
        name="group.consumer.assignors",
        default="uniform,range",
        scope="broker",
        doc="Server-side assignors of the new protocol; the first one where no member asks for one.",
    ),
    Setting(
        name="group.consumer.max.size",
        default=2_147_483_647,
        minimum=1,
        scope="broker",
        doc="Members that a group of the new protocol has at most.",
    ),
)

SETTINGS: tuple[Setting, ...] = (*BROKER, *CLIENT_SETTINGS)
