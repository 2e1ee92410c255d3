"""The client's settings, under the names that Kafka's own clients give them.

What a library does not have is emulated where it matters for correctness: `retries`, `delivery.timeout.ms`, and
`max.in.flight.requests.per.connection` (aiokafka itself keeps one produce request in flight per node).
"""

from __future__ import annotations

from harness.settings import Setting

AIOKAFKA = "aiokafka"
AIOKAFKA_PLAIN = "aiokafka-plain"
CONSUMER_PROTOCOL = "consumer"
COOPERATIVE = "cooperative-sticky"
MOST_IN_FLIGHT_IN_ORDER = 5
"""Brokers recognise a retry among as many batches of a producer."""
STRATEGIES = ("range", "roundrobin", "sticky", COOPERATIVE)

CLIENT_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="client",
        default=AIOKAFKA,
        choices=(AIOKAFKA, AIOKAFKA_PLAIN),
        scope="producer",
        doc="client library; `aiokafka` is extended by what exactly-once needs, `aiokafka-plain` is not",
    ),
    Setting(
        name="acks",
        default="all",
        choices=("0", "1", "all"),
        scope="producer",
        doc="replicas that must have a record before it is acknowledged; below `all` there is no idempotence",
    ),
    Setting(
        name="enable.idempotence",
        default=True,
        scope="producer",
        doc="number the batches, so that a retry is recognised (transactions always do)",
    ),
    Setting(
        name="retries",
        default=2_147_483_647,
        minimum=0,
        scope="producer",
        doc="0 never sends a batch twice; anything else retries until delivery.timeout.ms",
    ),
    Setting(
        name="delivery.timeout.ms",
        default=15_000,
        minimum=1,
        scope="producer",
        doc="how long a batch is retried; one with idempotence and without a transaction for ever, as aiokafka does",
    ),
    Setting(name="linger.ms", default=0, minimum=0, scope="producer", doc="how long a batch waits for more"),
    Setting(
        name="batch.size",
        default=16_384,
        minimum=1,
        scope="producer",
        doc="bytes of a batch; a record that does not fit any more begins the next one",
    ),
    Setting(
        name="max.in.flight.requests.per.connection",
        default=1,
        minimum=1,
        maximum=MOST_IN_FLIGHT_IN_ORDER,
        scope="producer",
        doc="produce requests under way to a broker at a time; without idempotence, more than 1 may reorder what is "
        "sent again (`aiokafka-plain` always has 1)",
    ),
    Setting(
        name="request.timeout.ms",
        default=3000,
        minimum=1,
        scope="producer",
        doc="how long a client waits for an answer before it asks again on a new connection",
    ),
    Setting(
        name="retry.backoff.ms", default=100, minimum=1, scope="producer", doc="wait between two attempts"
    ),
    Setting(
        name="producer.clock.offset.ms",
        default=0,
        scope="producer",
        doc="how far the clock is off by which producers stamp their records; a fault can set the clocks of client hosts, "
        "too",
    ),
    Setting(
        name="transaction.timeout.ms",
        default=10_000,
        minimum=1,
        scope="producer",
        doc="after this the coordinator aborts a transaction that its producer has not ended",
    ),
    Setting(
        name="transaction.add.partitions",
        default="all",
        choices=("all", "first"),
        scope="producer",
        doc="partitions of a transaction that the client adds to it before it writes there; with `first` it forgets all "
        "but one, as clients did for which leaders verify (KIP-890)",
    ),
    Setting(
        name="isolation.level",
        default="read_committed",
        choices=("read_committed", "read_uncommitted"),
        scope="consumer",
        doc="whether a consumer sees records of open and aborted transactions",
    ),
    Setting(
        name="auto.offset.reset",
        default="earliest",
        choices=("earliest", "latest", "none"),
        scope="consumer",
        doc="where to begin without a committed offset, or with one that is out of range",
    ),
    Setting(
        name="session.timeout.ms",
        default=6000,
        minimum=1,
        scope="consumer",
        doc="after this silence a group expels a member",
    ),
    Setting(
        name="heartbeat.interval.ms",
        default=1000,
        minimum=1,
        scope="consumer",
        doc="how often a member is heard of",
    ),
    Setting(
        name="max.poll.interval.ms",
        default=30_000,
        minimum=1,
        scope="consumer",
        doc="after this time without a poll a member leaves its group",
    ),
    Setting(
        name="partition.assignment.strategy",
        default="range",
        choices=STRATEGIES,
        scope="consumer",
        doc="how the leader of a group hands out partitions; `cooperative-sticky` revokes only what moves (KIP-429)",
    ),
    Setting(
        name="group.protocol",
        default="classic",
        choices=("classic", CONSUMER_PROTOCOL),
        scope="consumer",
        doc="protocol of consumer groups: the classic one, or KIP-848's, in which the coordinator assigns (sessions and "
        "heartbeats are the broker's to set: group.consumer.session.timeout.ms)",
    ),
    Setting(
        name="group.remote.assignor",
        default="uniform",
        choices=("uniform", "range"),
        scope="consumer",
        doc="how the coordinator hands out partitions under group.protocol=consumer",
    ),
    Setting(
        name="fetch.max.wait.ms",
        default=500,
        minimum=0,
        scope="consumer",
        doc="how long a broker may hold a fetch that has nothing to return",
    ),
    Setting(
        name="metadata.max.age.ms",
        default=60_000,
        minimum=1,
        scope="consumer",
        doc="how often a client refreshes what it knows of the cluster without being told to",
    ),
)
