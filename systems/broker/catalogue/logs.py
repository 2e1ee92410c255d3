"""Retention and compaction: what a broker removes of a log that was written and replicated well (semantics 1.E)."""

from __future__ import annotations

from harness.catalogue import Directed, Entry
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut, kill, wipe

OFTEN = {
    "compacted-kv.policy": "compact",
    "log.cleaner.backoff.ms": 200,
    "log.cleaner.min.cleanable.ratio": 0.1,
    "log.cleaner.delete.retention.ms": 1000,
}
"""A table that is compacted all the time."""
MANY_DELETES = OFTEN | {"compacted-kv.keys": 100, "compacted-kv.delete.share": 0.4}
TRANSACTIONS = OFTEN | {"compacted-kv.transaction.share": 0.8, "compacted-kv.abort.probability": 0.5}
MANY_KEYS = TRANSACTIONS | {"compacted-kv.keys": 100}
ONE_TABLE = OFTEN | {
    "compacted-kv.partitions": 1,
    "compacted-kv.keys": 30,
    "compacted-kv.transaction.share": 0,
    "compacted-kv.delete.share": 0,
    "compacted-kv.views.per.second": 20,
    "log.cleaner.delete.retention.ms": 60_000,
    "op.timeout.ms": 30_000,
    "broker.session.timeout.ms": 1500,
    "broker.heartbeat.interval.ms": 300,
}
BEHIND = {
    "log.message.timestamp.type": "CreateTime",
    "producer.clock.offset.ms": -120_000,
    "log.retention.ms": 60_000,
    "log.retention.check.interval.ms": 200,
    "log.segment.bytes": 1024,
}
UNDISTURBED = Schedule()
EVERYBODY_RESTARTS = Schedule(
    (kill("b1", 8_000, 1_000), kill("b2", 10_000, 1_000), kill("b3", 12_000, 1_000))
)
"""What a broker knows of transactions, it knows from the log alone."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="cleaner-keeps-oldest",
        mechanism="of each key the cleaner keeps the first record instead of the last",
        source="the log cleaner's contract",
        expect=("compaction-lost-key", "compaction-resurrected-key"),
        workload="compacted-kv",
        settings=OFTEN,
        remedy="the largest offset of a key stays",
        directed=Directed(workload="compacted-kv", schedule=UNDISTURBED, settings=OFTEN),
    ),
    Entry(
        name="cleaner-beyond-lso",
        mechanism="the cleaner lets records that are not committed replace committed ones",
        source="KAFKA-5196, apache/kafka#3008",
        expect=("compaction-lost-key", "compaction-resurrected-key"),
        workload="compacted-kv",
        settings=TRANSACTIONS,
        remedy="what is compacted ends at the last stable offset, and aborted records replace nothing",
        directed=Directed(workload="compacted-kv", schedule=UNDISTURBED, settings=TRANSACTIONS),
    ),
    Entry(
        name="tombstone-dropped-before-older-value",
        priority=2,
        mechanism="a tombstone goes although an older record of its key is still in the log",
        source="the order in which a cleaner goes through a log",
        expect=("compaction-resurrected-key",),
        workload="compacted-kv",
        settings=MANY_DELETES,
        remedy="a tombstone goes once all segments before it are clean",
        directed=Directed(workload="compacted-kv", schedule=UNDISTURBED, settings=MANY_DELETES),
    ),
    Entry(
        name="cleaner-dedupes-control-records",
        priority=2,
        mechanism="the cleaner takes the markers of transactions for records of one key and keeps the last",
        source="control batches in a compacted log, as other brokers got them wrong",
        expect=("compaction-lost-key", "compaction-resurrected-key", "aborted-read", "lso-stuck"),
        workload="compacted-kv",
        nemesis="kill",
        settings=MANY_KEYS,
        remedy="control batches have no key",
        directed=Directed(
            workload="compacted-kv", schedule=EVERYBODY_RESTARTS, settings=MANY_KEYS, time_limit_ms=25_000
        ),
    ),
    Entry(
        name="marker-removed-before-data",
        priority=2,
        mechanism="an abort marker goes while records of its transaction are still in the log",
        source="KAFKA-8522, KIP-534",
        expect=("compaction-lost-key", "compaction-resurrected-key", "aborted-read", "lso-stuck"),
        workload="compacted-kv",
        nemesis="kill",
        settings=TRANSACTIONS,
        remedy="a marker goes after the last of its records, and after a delay",
        directed=Directed(
            workload="compacted-kv", schedule=EVERYBODY_RESTARTS, settings=TRANSACTIONS, time_limit_ms=25_000
        ),
    ),
    Entry(
        name="compaction-drops-last-sequence",
        priority=2,
        mechanism="the cleaner removes a producer's last batch with its records, and a replica that knows producers from "
        "the log alone takes the retry for something new",
        source="redpanda-data/redpanda#3552; apache/kafka#10914",
        expect=("duplicate",),
        workload="compacted-kv",
        nemesis="partition+kill",
        settings=ONE_TABLE,
        remedy="the last batch of a producer stays, if need be empty",
        # Clients do not hear that their puts are appended. These are replaced in the table and compacted; replicas that
        # lost their disks learn the log anew, and one of them leads when the clients ask again.
        directed=Directed(
            workload="compacted-kv",
            schedule=Schedule(
                (
                    cut("client-0+client-1", 5_000, 9_000, direction="in"),
                    wipe("followers(table/0)", 8_000, 500),
                    kill("leader(table/0)", 11_500, 7_000),
                )
            ),
            settings=ONE_TABLE,
            time_limit_ms=22_000,
        ),
    ),
    Entry(
        name="retention-by-producer-clock",
        kind="configuration",
        priority=2,
        mechanism="retention goes by what a producer's clock says, and removes at once what one that is behind has just "
        "written",
        source="Kafka's topic documentation, message.timestamp.type=CreateTime",
        expect=("lost-write",),
        settings=BEHIND,
        safe={"log.message.timestamp.type": "LogAppendTime"},
        remedy="log.message.timestamp.type=LogAppendTime",
        directed=Directed(workload="produce", schedule=UNDISTURBED, settings=BEHIND, time_limit_ms=8_000),
    ),
)
