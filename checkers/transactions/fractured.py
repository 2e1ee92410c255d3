"""Fractured reads: a transaction saw one write of another and the state of another key just before its second."""

from __future__ import annotations

from typing import Final

import numpy as np

from checkers.transactions.cycles import Cycle
from checkers.transactions.graph import RW, WR, Graph
from checkers.transactions.walks import Step

MOST_SHOWN: Final = 20


def fractured_reads(nodes: int, graph: Graph) -> list[Cycle]:
    """Cycles of one rw and one wr between the same two transactions: as many as are shown."""
    rw, wr = np.flatnonzero(graph.kind == RW), np.flatnonzero(graph.kind == WR)
    if not len(rw) or not len(wr):
        return []
    code = graph.source[wr] * nodes + graph.target[wr]
    order = np.argsort(code)
    code, wr = code[order], wr[order]
    back = graph.target[rw] * nodes + graph.source[rw]
    place = np.minimum(np.searchsorted(code, back), len(code) - 1)
    cycles: dict[tuple[int, int], Cycle] = {}
    for row in np.flatnonzero(code[place] == back).tolist():
        reader, writer = int(graph.source[rw[row]]), int(graph.target[rw[row]])
        if (reader, writer) not in cycles:
            missed = Step(reader, writer, RW, int(rw[row]))
            cycles[reader, writer] = (missed, Step(writer, reader, WR, int(wr[place[row]])))
        if len(cycles) == MOST_SHOWN:
            break
    return list(cycles.values())
