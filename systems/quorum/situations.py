"""Situations a run may reach, counted from what the nodes report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.node import NodeEvent

SITUATIONS: Mapping[str, str] = {
    "peer-down": "a node counted another one as down",
    "hint-stored": "a write was kept for a replica that missed it",
    "hint-replayed": "a hint reached its target",
    "sloppy-write": "a fallback stood in for a replica that was down",
    "read-repair": "a read mended a stale replica",
    "write-back": "a read made sure that a write quorum holds what it returns",
    "merkle-repair": "anti-entropy found a difference and mended it",
    "siblings": "a put found concurrent values",
    "tombstone-purged": "a deletion was forgotten",
    "voters-changed": "a range of consensus replaced a voter",
    "torn-log": "a restart cut a torn record off its commit log",
}


REACHED_BY: Mapping[str, Sequence[str]] = {"peer-down": ("kill", "partition", "pause")}
"""What any campaign of such a nemesis reaches (`harness.coverage`)."""


def count_situations(events: Sequence[NodeEvent]) -> dict[str, int]:
    counts = dict.fromkeys(SITUATIONS, 0)
    for event in events:
        if event.kind in counts:
            counts[event.kind] += 1
    return counts
