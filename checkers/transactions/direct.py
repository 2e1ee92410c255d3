"""Direct anomalies: what is wrong with a transaction or a value without looking for a cycle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from checkers.transactions.graph import Graph
from checkers.transactions.micro_operations import OK, Flags, Ints, Transactions

MOST_SHOWN: Final = 20
"""Instances of one anomaly that are told; all are counted."""


@dataclass(frozen=True, slots=True)
class Direct:
    """One instance. `txns` and `ops` (micro-operations) are rows of the columns, what is at fault first."""

    name: str
    txns: tuple[int, ...]
    ops: tuple[int, ...]
    sentence: str


@dataclass(slots=True)
class Directs:
    """Instances by name. What comes lazily beyond `MOST_SHOWN` is counted and not told."""

    instances: dict[str, list[Direct]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int, told: Iterable[Direct]) -> None:
        if not count:
            return
        self.counts[name] = self.counts.get(name, 0) + count
        shown = self.instances.setdefault(name, [])
        shown.extend(_first(told, MOST_SHOWN - len(shown)))


def _first(told: Iterable[Direct], count: int) -> Iterator[Direct]:
    for number, direct in enumerate(told):
        if number >= count:
            return
        yield direct


@dataclass(frozen=True, slots=True)
class Inference:
    """What a history says for certain: who committed, who depends on whom (`graph`: ww, wr, rw), and what is wrong
    already. `unordered` counts the versions that no order of their key holds."""

    committed: Flags
    graph: Graph
    directs: Directs
    unordered: int = 0
    shown_by: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """By key, the read of a list that shows the order of its versions; -1 for none."""
    without_unknown: frozenset[int] = frozenset()
    """Keys whose order leaves out what transactions of unknown outcome wrote."""


def nothing(txns: Transactions) -> Inference:
    """Of transactions that neither read nor wrote."""
    empty = np.zeros(0, dtype=np.int64)
    graph = Graph(len(txns), empty, empty, empty.astype(np.int8), empty, empty)
    return Inference(txns.outcome == OK, graph, Directs())
