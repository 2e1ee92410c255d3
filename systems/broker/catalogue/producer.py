"""The producer and its retries."""

from __future__ import annotations

from harness.catalogue import Directed, Entry
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut, kill

PIPELINED = {"produce.batch.records": 8, "batch.size": 80, "max.in.flight.requests.per.connection": 5}
"""One operation is several batches, which are under way at the same time."""

IMPATIENT = {
    "broker.session.timeout.ms": 1500,
    "broker.heartbeat.interval.ms": 300,
    "metadata.max.age.ms": 1000,
    "request.timeout.ms": 5000,
}
"""Another leader is elected, and known to clients, before they give up on what they sent to the first one."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="retry-duplicate",
        kind="configuration",
        mechanism="the acknowledgement is lost, and the retry is appended a second time",
        source="Kafka's producer documentation; redpanda-data/redpanda#3039",
        expect=("duplicate",),
        nemesis="partition",
        settings={"enable.idempotence": False},
        safe={"enable.idempotence": True},
        remedy="enable.idempotence=true",
    ),
    Entry(
        name="inflight-reorder",
        kind="configuration",
        mechanism="of several batches under way the first one fails and is sent again behind the others",
        source="Kafka's producer documentation, max.in.flight.requests.per.connection; apache/kafka#10690",
        expect=("nonmonotonic-send", "int-nonmonotonic-send"),
        nemesis="partition+kill",
        settings=PIPELINED | {"enable.idempotence": False},
        safe={"enable.idempotence": True},
        remedy="enable.idempotence=true: batches line up by their sequence",
    ),
    Entry(
        name="dedupe-state-not-replicated",
        mechanism="a new leader knows no producer's last sequence",
        source="KIP-98; redpanda-data/redpanda#3039",
        expect=("duplicate",),
        nemesis="partition+kill",
        remedy="producer state is derived from the log",
        # S10: appended and replicated, the answer lost, the leader killed; the retry meets its successor.
        directed=Directed(
            workload="produce",
            schedule=Schedule(
                (cut("clients", 5_000, 4_500, direction="in"), kill("leader(orders/0)", 6_000, 6_000))
            ),
            settings={"produce.partitions": 1},
        ),
    ),
    Entry(
        name="producer-state-expired",
        kind="configuration",
        mechanism="a partition has forgotten the producer when its delayed retry comes, and takes it for something new",
        source="KAFKA-7190; KIP-360",
        expect=("duplicate",),
        nemesis="partition",
        settings={"producer.id.expiration.ms": 500, "log.retention.check.interval.ms": 200},
        safe={"producer.id.expiration.ms": 86_400_000},
        remedy="producer.id.expiration.ms above delivery.timeout.ms",
    ),
    Entry(
        name="restart-new-pid-resend",
        kind="configuration",
        priority=2,
        mechanism="an application that dies and writes once more what it had not noted as written is a new producer to "
        "the broker, whose idempotence is one session's",
        source="Kafka's producer documentation, enable.idempotence; confluentinc/librdkafka#4953",
        expect=("eos-duplicate",),
        workload="eos",
        settings={"eos.producer": "idempotent", "eos.offsets": "separate"},
        safe={"eos.producer": "transactional", "eos.offsets": "transaction"},
        remedy="transactions, with the position in the source in them",
    ),
    Entry(
        name="sequence-gap-accepted",
        mechanism="a leader appends over a gap, and takes the missing batch for a duplicate when it comes",
        source="KIP-98",
        expect=("lost-write", "nonmonotonic-send"),
        nemesis="partition+kill",
        settings=PIPELINED | IMPATIENT,
        nodes=5,
        remedy="a sequence must follow the last one",
    ),
    Entry(
        name="dedupe-window-too-small",
        priority=2,
        mechanism="a leader remembers the last batch of a producer that has five under way, and refuses the retries of "
        "the others; the client sends them under a new epoch",
        source="KAFKA-5494; redpanda-data/redpanda#3077",
        expect=("duplicate",),
        nemesis="partition",
        settings=PIPELINED,
        remedy="as many batches are remembered as may be under way",
    ),
    Entry(
        name="oos-then-client-epoch-bump",
        priority=2,
        mechanism="a leader calls the retry of an appended batch out of order; the client takes a new epoch and sends it "
        "again",
        source="redpanda-data/redpanda#3039; KAFKA-14034; confluentinc/librdkafka#4953",
        expect=("duplicate",),
        nemesis="partition",
        remedy="a retry that is remembered is acknowledged",
    ),
)
