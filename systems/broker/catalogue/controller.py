"""The controllers: who leads, who is in sync, and who is the controller."""

from __future__ import annotations

from harness.catalogue import Entry
from systems.broker.catalogue.replication import LOSS

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="fast-reboot-without-fencing",
        priority=2,
        mechanism="a broker registers again before its old incarnation is fenced, and stays in the ISR with a shorter log",
        source="KAFKA-7235; KIP-903",
        expect=LOSS,
        nemesis="power",
        remedy="registration only after fencing",
    ),
    Entry(
        name="stale-broker-epoch-isr-join",
        priority=2,
        mechanism="the controller takes a follower into the ISR on the word of a fetch before its restart",
        source="KIP-903 (KAFKA-14617, KAFKA-15221)",
        expect=LOSS,
        nemesis="slow-messages+power",
        remedy="broker epochs in AlterPartition",
    ),
    Entry(
        name="alter-partition-ignores-partition-epoch",
        priority=2,
        mechanism="the controller applies ISR proposals of an older partition epoch",
        source="KAFKA-12367",
        expect=LOSS,
        nemesis="slow-messages+partition+kill",
        remedy="compare and set on partition epoch and leader epoch",
    ),
    Entry(
        name="zombie-controller-not-fenced",
        priority=2,
        mechanism="brokers obey a deposed controller",
        source="KAFKA-6082, KAFKA-14154",
        expect=LOSS,
        nemesis="pause+partition",
        remedy="controller epochs only grow",
    ),
    Entry(
        name="controller-vote-not-persisted",
        mechanism="a controller forgets its vote in a restart and votes twice in a term",
        source="Ongaro and Ousterhout 2014; jepsen.io/analyses/redis-raft-1b3fbf6",
        expect=(*LOSS, "duplicate"),
        nemesis="kill+partition",
        remedy="term and vote are synced before the answer",
    ),
    Entry(
        name="controller-commit-old-term-by-count",
        priority=3,
        mechanism="a controller commits entries of older terms by counting replicas",
        source="Ongaro and Ousterhout 2014, figure 8",
        expect=LOSS,
        nemesis="kill+partition",
        # Whoever has an entry of an older term has it with the first of the new one, unless they are sent apart.
        settings={"controller.quorum.append.max.entries": 1},
        remedy="only entries of the own term are counted",
    ),
)
