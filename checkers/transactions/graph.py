"""The dependency graph as columns: who must come before whom, of what kind, and on account of which version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from checkers.transactions.micro_operations import Bytes, Flags, Ints

WW: Final = 1
WR: Final = 2
RW: Final = 4
PO: Final = 8
RT: Final = 16
DEPENDENCY: Final = WW | WR
ITEM: Final = WW | WR | RW
ORDER: Final = PO | RT
NAMES: Final = {WW: "ww", WR: "wr", RW: "rw", PO: "po", RT: "rt"}


@dataclass(frozen=True, slots=True)
class Graph:
    """An edge goes from `source` to `target`. `cause` is the micro-operation that proves it, together with the order
    of its key: the overwriting write (ww, rw) or the read (wr); -1 for orders of time. `evidence` is the
    micro-operation of the source: the write overwritten or read (ww, wr), the read (rw)."""

    nodes: int
    source: Ints
    target: Ints
    kind: Bytes
    evidence: Ints
    cause: Ints

    def __len__(self) -> int:
        return len(self.source)

    def only(self, chosen: Flags) -> Graph:
        """The chosen edges, over the same nodes."""
        return Graph(
            self.nodes,
            self.source[chosen],
            self.target[chosen],
            self.kind[chosen],
            self.evidence[chosen],
            self.cause[chosen],
        )


def edges(kind: int, nodes: int, source: Ints, target: Ints, evidence: Ints, cause: Ints) -> Graph:
    """Edges of one kind; a transaction never depends on itself."""
    real = source != target
    count = int(real.sum())
    return Graph(
        nodes,
        source[real].astype(np.int64),
        target[real].astype(np.int64),
        np.full(count, kind, dtype=np.int8),
        evidence[real].astype(np.int64),
        cause[real].astype(np.int64),
    )


def union(nodes: int, parts: Iterable[Graph]) -> Graph:
    every = list(parts)
    return Graph(
        nodes,
        np.concatenate([g.source for g in every]),
        np.concatenate([g.target for g in every]),
        np.concatenate([g.kind for g in every]),
        np.concatenate([g.evidence for g in every]),
        np.concatenate([g.cause for g in every]),
    )
