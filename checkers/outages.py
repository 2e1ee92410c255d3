"""Faults as spans of time: who was hit, from when to when. A checker tells of them; no verdict rests on them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.history import History
from harness.ops import Op
from harness.schedule import UNDO

STOPS = frozenset({"kill", "power"})
"""Kinds after which nothing runs on a node."""
STALLS = STOPS | {"pause"}
"""Kinds during which a node does nothing."""
SILENCES = STALLS | {"partition"}
"""Kinds that keep a node from answering the others."""


class Outage(msgspec.Struct, frozen=True):
    """One fault in force. `index` and `undone` are the history indices of the events that say so; `end` is None
    where the history ends first. `links` are the (source, target) pairs that a partition cut."""

    index: int
    kind: str
    targets: tuple[str, ...]
    start: int
    end: int | None = None
    undone: int | None = None
    links: frozenset[tuple[str, str]] = frozenset()
    params: tuple[tuple[str, object], ...] = ()

    def covers(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)

    def overlaps(self, start: int, end: int) -> bool:
        return self.start <= end and (self.end is None or self.end >= start)

    def hits(self, node: str) -> bool:
        return node in self.targets or any(node in link for link in self.links)

    def cut_from(self, node: str, others: Sequence[str]) -> list[str]:
        """Whom of `others` the node cannot exchange messages with, both ways or one."""
        return [o for o in others if (node, o) in self.links or (o, node) in self.links]


def outages(history: History) -> list[Outage]:
    """In order of their beginning. A fault that hit nobody is none."""
    found: list[Outage] = []
    active: dict[tuple[object, str], int] = {}
    for op in history.faults:
        if op.type == "invoke" or not isinstance(op.value, dict):
            continue
        fault = op.value.get("fault")
        if op.f in UNDO:
            if op.type == "ok" and op.f != "crash-at" and op.value.get("targets"):
                active[fault, op.f] = len(found)
                found.append(_begun(op))
            continue
        for key in [k for k in active if k[0] == fault and UNDO[k[1]] == op.f]:
            place = active.pop(key)
            found[place] = msgspec.structs.replace(found[place], end=op.time, undone=op.index)
    return found


def _begun(op: Op) -> Outage:
    links = op.value.get("links")
    params = op.value.get("params")
    return Outage(
        index=op.index,
        kind=op.f,
        targets=tuple(str(t) for t in op.value["targets"]),
        start=op.time,
        links=frozenset((str(a), str(b)) for a, b in links) if isinstance(links, list) else frozenset(),
        params=tuple(sorted(params.items())) if isinstance(params, dict) else (),
    )
