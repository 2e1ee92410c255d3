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
    "ring-joined": "a node came into the ring and had its ranges handed over",
    "ring-left": "a node handed its ranges over and left the ring",
    "ring-replaced": "a node took the place of a lost one",
    "ring-rebuilt": "a node that had lost its disk fetched its ranges again",
    "ring-refused": "a request of another epoch of the ring was refused",
    "ranges-fetched": "a node had all cells of the ranges that it gained",
    "ranges-dropped": "a node dropped cells of ranges that it keeps no more",
    "change-aborted": "a change of the ring was taken back, since a node had lost its disk",
    "hint-handed-on": "a node that leaves handed a hint on",
    "hint-expired": "a hint was too old to be replayed",
    "disk-failed": "a node stopped, since its disk failed",
    "merkle-repair": "anti-entropy found a difference and mended it",
    "siblings": "a put found concurrent values",
    "tombstone-purged": "a deletion was forgotten",
    "voters-changed": "a range of consensus replaced a voter",
    "torn-log": "a restart cut a torn record off its commit log",
}


REACHED_BY: Mapping[str, Sequence[str]] = {"peer-down": ("kill", "partition", "pause")}
"""What any campaign of such a nemesis reaches (`harness.coverage`)."""


CHANGES: Mapping[str, str] = {
    "join": "ring-joined",
    "leave": "ring-left",
    "replace": "ring-replaced",
    "rebuild": "ring-rebuilt",
}


def count_situations(events: Sequence[NodeEvent]) -> dict[str, int]:
    """A change counts once, when it is handed over, however many nodes say so."""
    counts = dict.fromkeys(SITUATIONS, 0)
    handed_over: dict[int, str] = {}
    for event in events:
        if event.kind in counts:
            counts[event.kind] += 1
        elif event.kind == "ring-changed" and event.fields["stage"] == "handing-over":
            handed_over[event.fields["epoch"]] = event.fields["change"]
    for change in handed_over.values():
        counts[CHANGES[change]] += 1
    return counts
