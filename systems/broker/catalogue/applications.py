"""Around the broker: how applications choose partitions, and how long what they have not read yet is kept."""

from __future__ import annotations

from harness.catalogue import Entry

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="partitioner-mismatch",
        kind="configuration",
        mechanism="two producers hash keys differently, so that one key lives in two partitions",
        source="confluentinc/librdkafka#4510; segmentio/kafka-go#142",
        expect=("key-order-violation",),
        workload="keyed-order",
        settings={"keyed-order.partitioner": "mixed"},
        safe={"keyed-order.partitioner": "murmur2"},
        remedy="one partitioner for all producers of a topic",
    ),
    Entry(
        name="partition-count-change",
        kind="configuration",
        mechanism="a topic of keyed records gets more partitions, and keys move to others while their records wait",
        source="Kafka's operations documentation, adding partitions",
        expect=("key-order-violation",),
        workload="keyed-order",
        settings={"keyed-order.grow.to": 12},
        safe={"keyed-order.grow.to": 0},
        remedy="as many partitions as will ever be needed, or a topic anew",
    ),
    Entry(
        name="retention-deletes-unread",
        kind="configuration",
        mechanism="segments go by size or age, whoever has not read them yet",
        source="Kafka's topic documentation, retention.bytes and retention.ms",
        expect=("consume-lost",),
        workload="slow-consumer",
        settings={"log.retention.bytes": 2000, "log.segment.bytes": 1024},
        safe={"log.retention.bytes": -1},
        remedy="retention beyond the greatest lag",
    ),
    Entry(
        name="offsets-outside-the-sink",
        kind="configuration",
        mechanism="rows are written and offsets committed one after the other; a crash between the two repeats rows",
        source="Kafka's design documentation, message delivery semantics",
        expect=("consume-duplicate",),
        workload="sink",
        settings={"sink.mode": "insert"},
        safe={"sink.mode": "offsets"},
        remedy="offsets in the transaction that writes the rows, or rows that are unique by offset",
    ),
)
