"""Mistakes of keeping what was acknowledged, and of bringing it to every replica."""

from __future__ import annotations

from harness.catalogue import Entry

NODES = 5
WRONG = ("nonlinearizable", "ryw-violation", "nonmonotonic-read")

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="ack-before-commitlog-sync",
        kind="configuration",
        mechanism="a replica acknowledges from memory and syncs every while",
        source="Cassandra's documentation of commitlog_sync",
        expect=("lost-write",),
        workload="write-once",
        nemesis="power-all",
        settings={"commitlog.sync": "periodic"},
        safe={"commitlog.sync": "batch"},
        nodes=NODES,
        remedy="synced before the acknowledgement",
    ),
    Entry(
        name="hint-deleted-before-ack",
        mechanism="a hint is forgotten when it is sent",
        source="Riak 2.1.0 data loss advisory",
        expect=("lost-write", "divergence", "under-replication"),
        workload="convergence",
        nemesis="partition",
        # Nothing else repairs, and hints take their time: the next cut finds some on their way.
        settings={
            "conflict": "lww",
            "read.repair": "none",
            "anti.entropy.interval.ms": 0,
            "hinted.handoff.per.second": 10,
        },
        nodes=NODES,
        remedy="forgotten when its target has it on disk",
    ),
    Entry(
        name="merkle-hash-omits-metadata",
        mechanism="leaves hash the values, not versions and tombstones",
        source="derived",
        expect=("divergence",),
        workload="convergence",
        nemesis="partition+kill",
        settings={"hinted.handoff.enabled": False, "read.repair": "none", "conflict": "lww"},
        nodes=NODES,
        remedy="leaves hash whole cells",
    ),
    Entry(
        name="merkle-stale-tree",
        priority=2,
        mechanism="a leaf is not hashed again after a write",
        source="derived",
        expect=("divergence",),
        workload="convergence",
        nemesis="partition+kill",
        settings={"hinted.handoff.enabled": False, "read.repair": "none", "conflict": "lww"},
        nodes=NODES,
        remedy="what was written is hashed again",
    ),
    Entry(
        name="ae-pushes-blind",
        mechanism="anti-entropy replaces the peer's cells",
        source="derived",
        expect=(*WRONG, "lost-write", "divergence"),
        workload="register",
        nemesis="slow",
        settings={"anti.entropy.interval.ms": 200},
        nodes=NODES,
        remedy="both sides merge",
    ),
    Entry(
        name="hint-counts-as-write",
        kind="configuration",
        mechanism="W = ANY: a hint at one node may be the only copy",
        source="Apache Cassandra's consistency level ANY",
        expect=("lost-write",),
        workload="write-once",
        nemesis="partition+wipe",
        settings={"write.quorum": "ANY", "conflict": "lww"},
        safe={"write.quorum": "QUORUM"},
        nodes=NODES,
        remedy="only replicas count",
    ),
    Entry(
        name="hint-window-expired",
        kind="configuration",
        mechanism="a node is away for longer than writes are kept for it, and nobody repairs it",
        source="Apache Cassandra's max_hint_window",
        expect=("divergence", "under-replication"),
        workload="convergence",
        nemesis="kill",
        settings={
            "max.hint.window.ms": 100,
            "anti.entropy.interval.ms": 0,
            "read.repair": "none",
            "conflict": "lww",
        },
        safe={"anti.entropy.interval.ms": 1_000, "read.repair": "blocking"},
        nodes=NODES,
        remedy="anti-entropy, on which convergence rests",
    ),
)
