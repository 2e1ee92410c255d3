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

_STORE = "--system quorum --nodes 5"
_AWAY = f"{_STORE} --workload write-once --nemesis kill"
_CHANGES = f"{_STORE} --workload write-once --nemesis membership --set spares=2"

REACHED_WITH: Mapping[str, str] = {
    "peer-down": _AWAY,
    "hint-stored": _AWAY,
    "hint-replayed": _AWAY,
    "sloppy-write": f"{_AWAY} --set conflict=lww --set sloppy.quorum=true",
    "read-repair": _AWAY,
    "write-back": _CHANGES,
    "ring-joined": _CHANGES,
    "ring-left": _CHANGES,
    "ring-replaced": _CHANGES,
    "ring-rebuilt": f"{_STORE} --workload write-once --nemesis wipe --set spares=2",
    "ring-refused": _CHANGES,
    "ranges-fetched": _CHANGES,
    "ranges-dropped": _CHANGES,
    "change-aborted": f"{_STORE} --workload write-once --nemesis membership+wipe --set spares=2 --runs 40",
    "hint-handed-on": f"{_STORE} --workload write-once --nemesis membership+partition --set spares=2",
    "hint-expired": f"{_AWAY} --set gc.grace.ms=500",
    "disk-failed": f"{_STORE} --workload write-once --nemesis disk-full",
    "merkle-repair": _AWAY,
    "siblings": f"{_STORE} --workload siblings --nemesis none",
    "tombstone-purged": f"{_STORE} --workload kv-delete --nemesis kill --set tombstone.gc=time --set gc.grace.ms=500",
    "voters-changed": f"{_STORE} --workload register --nemesis membership --set conflict=raft --set spares=2",
    "torn-log": f"{_STORE} --workload write-once --nemesis power-all",
}
"""What reaches it, in twenty seeds where nothing else is said."""


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
