"""Mistakes of the ring: nodes that come, go, lose their disk or are replaced."""

from __future__ import annotations

from typing import Any

from harness.catalogue import Entry

NODES = 5
WRONG = ("nonlinearizable", "ryw-violation", "nonmonotonic-read")
SPARES: dict[str, Any] = {"spares": 2}
UNMENDED: dict[str, Any] = {
    "conflict": "lww",
    "read.repair": "none",
    "anti.entropy.interval.ms": 0,
    "hinted.handoff.enabled": False,
}
"""What a replica missed it misses for good: quorums have to meet."""
ONE_OF_ALL: dict[str, Any] = {**UNMENDED, "read.quorum": "ONE", "write.quorum": "ALL"}
"""Any owner that lacks a write is seen."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="ring-disagreement",
        mechanism="replicas answer whoever asks, by whatever ring: quorums of two rings need not meet",
        source="Apache Cassandra CEP-21 (transactional cluster metadata), motivation",
        expect=(*WRONG, "lost-write"),
        workload="write-once",
        nemesis="membership+slow-links",
        settings={**SPARES, **ONE_OF_ALL},
        nodes=NODES,
        remedy="requests carry the epoch of the ring, and another one is refused",
    ),
    Entry(
        name="bootstrap-no-pending-writes",
        mechanism="while ranges move, writes go to one side only",
        source="CASSANDRA-833",
        expect=("lost-write", *WRONG),
        workload="write-once",
        nemesis="membership",
        settings={**SPARES, **ONE_OF_ALL},
        nodes=NODES,
        remedy="writes need their quorum among the old owners and among the new ones",
    ),
    Entry(
        name="stream-from-wrong-replica",
        priority=2,
        mechanism="a new owner fetches its range from any one of the old ones, which may lack what the others have",
        source="Apache Cassandra, consistent range movement (CASSANDRA-2434)",
        expect=("lost-write", *WRONG),
        workload="write-once",
        nemesis="membership+partition",
        settings={**SPARES, **UNMENDED},
        nodes=NODES,
        remedy="from a read quorum of the old owners",
    ),
    Entry(
        name="cleanup-before-handoff",
        priority=2,
        mechanism="an old owner drops its range when the move begins",
        source="Riak 2.1.0 data loss advisory",
        expect=("lost-write", *WRONG),
        workload="write-once",
        nemesis="membership+partition",
        # What one side of a partition wrote the other one lacks, and nobody brings it there.
        settings={**UNMENDED, "read.quorum": "ALL", "write.quorum": "ONE"},
        nodes=NODES,
        remedy="dropped once the new owners have everything and answer reads",
    ),
    Entry(
        name="decommission-drops-hints",
        priority=2,
        mechanism="a node that leaves takes the hints that it holds with it",
        source="derived from Dynamo's hinted handoff",
        expect=("lost-write",),
        workload="write-once",
        nemesis="membership+partition",
        # Hints are all that there is of a write, and take their time.
        settings={
            "sloppy.quorum": True,
            "write.quorum": "ANY",
            "conflict": "lww",
            "anti.entropy.interval.ms": 0,
            "hinted.handoff.per.second": 10,
        },
        nodes=NODES,
        remedy="a node leaves when its hints are with others",
    ),
    Entry(
        name="amnesiac-replica-answers",
        mechanism="a node with an empty disk takes its old place and votes at once",
        source="derived; Apache Cassandra's replace_address",
        expect=("lost-write", *WRONG),
        workload="write-once",
        nemesis="wipe",
        settings=UNMENDED,
        nodes=NODES,
        remedy="it is another node until it has fetched its ranges from a quorum of the others",
    ),
    Entry(
        name="vnodes-collocated",
        priority=2,
        mechanism="a preference list counts virtual nodes: the copies of a key may be on one machine",
        source="DeCandia et al. 2007, 4.3: the list skips positions to hold distinct physical nodes",
        expect=("lost-write",),
        workload="write-once",
        nemesis="wipe",
        settings=UNMENDED,
        nodes=NODES,
        remedy="distinct physical nodes",
    ),
)
