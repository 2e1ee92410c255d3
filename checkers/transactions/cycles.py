"""Cycles by class: in each component the shortest, by breadth-first search over (transaction, rw edges seen).

Adya's classes differ in how many anti-dependencies (rw) a cycle has and whether two of them are adjacent:

    G0             ww only
    G1c            ww and wr, at least one wr
    G-single       exactly one rw
    G-nonadjacent  two or more rw, no two adjacent
    G2-item        two adjacent rw

Each may need an edge of process order (`-process`) or of real time (`-realtime`) to close. Components come
first, so that a search starts only where there is a cycle: of the class's edges, or, for the classes without
adjacent rw, of the graph whose nodes remember whether the last edge was an rw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from checkers.transactions.components import cyclic
from checkers.transactions.graph import DEPENDENCY, ITEM, ORDER, PO, RW, WR, WW, Graph
from checkers.transactions.micro_operations import NEVER, Flags, Ints, Transactions
from checkers.transactions.realtime import process_order, with_realtime
from checkers.transactions.walks import (
    Mode,
    Rule,
    Step,
    Timeline,
    Walks,
    process_lines,
    realtime_lines,
)

Layer = Literal["", "-process", "-realtime"]
LAYERS: Final[tuple[Layer, ...]] = ("", "-process", "-realtime")
BUDGET: Final = 400_000
"""Edges after which the search for one class begins nowhere anew, but for the first search of a component."""
MOST_COMPONENTS: Final = 20
"""Components in which one class is looked for: one cycle of each is enough to understand what is wrong."""


Cycle = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Cycles:
    """The shortest cycles by name. `cut` names the classes of which the search was given up before it was sure that
    no shorter one (or none) exists."""

    found: dict[str, list[Cycle]]
    cut: tuple[str, ...]


def classify(cycle: Sequence[Step], same_process: Callable[[int, int], bool]) -> str:
    """The strongest name of a cycle, from its edges alone."""
    rw = [step.kind == RW for step in cycle]
    adjacent = any(a and b for a, b in zip(rw, rw[1:] + rw[:1], strict=True)) and len(rw) > 1
    if not any(rw):
        name = "G1c" if any(step.kind == WR for step in cycle) else "G0"
    elif sum(rw) == 1:
        name = "G-single"
    else:
        name = "G2-item" if adjacent else "G-nonadjacent"
    timed = [step for step in cycle if step.kind & ORDER]
    if not timed:
        return name
    if all(step.kind == PO or same_process(step.source, step.target) for step in timed):
        return name + "-process"
    return name + "-realtime"


def find_cycles(txns: Transactions, graph: Graph, committed: Flags) -> Cycles:
    """Linear in the graph where there is no cycle."""
    completed = np.where(committed, txns.completed, NEVER)
    nodes, source, target = with_realtime(len(txns), graph.source, graph.target, txns.invoked, completed)
    on_cycle = cyclic(nodes, source, target)[: len(txns)] >= 0
    if not on_cycle.any():
        return Cycles({}, ())
    search = _Search(txns, graph, committed, on_cycle)
    for layer in LAYERS:
        search.look(layer)
    found = {name: sorted(search.found[name], key=len) for name in sorted(search.found)}
    return Cycles(found, tuple(search.cut))


class _Search:
    """Over the transactions that lie on a cycle of any kind, renumbered from 0 in order of invocation."""

    def __init__(self, txns: Transactions, graph: Graph, committed: Flags, on_cycle: Flags) -> None:
        self._names = np.flatnonzero(on_cycle)
        number = np.full(len(txns), -1, dtype=np.int64)
        number[self._names] = np.arange(len(self._names))
        self._edge = np.flatnonzero(on_cycle[graph.source] & on_cycle[graph.target])
        self._source = number[graph.source[self._edge]]
        self._target = number[graph.target[self._edge]]
        self._kind = graph.kind[self._edge].astype(np.int64)
        self._process = txns.process[self._names]
        self._invoked = txns.invoked[self._names]
        self._completed = np.where(committed, txns.completed, NEVER)[self._names]
        self._committed = committed[self._names]
        self.found: dict[str, list[Cycle]] = {}
        self.cut: list[str] = []

    def look(self, layer: Layer) -> None:
        """For all classes, with the order of time that the layer adds."""
        n = len(self._names)
        timeline: Timeline | None = None
        if layer == "-process":
            timeline = process_lines(self._process, self._committed)
        elif layer == "-realtime":
            timeline = realtime_lines(self._invoked, self._completed, self._process)
        walks = Walks(self._source, self._target, self._kind, self._edge, n, timeline)
        timed = layer != ""
        for name, kinds, start in (("G0", WW, WW), ("G1c", DEPENDENCY, WR)):
            labels = self._components(walks, kinds, layer)
            self._class(name, layer, walks, Rule(kinds, "none", timed), start, labels, labels)
        after_dependency, after_rw = self._without_adjacent_rw(walks, layer)
        for name, kinds, mode in _SPACED:
            if name != "long-fork" or not timed:
                rule = Rule(kinds, mode, timed)
                self._class(name, layer, walks, rule, RW, after_dependency, after_rw)
        labels = self._components(walks, ITEM, layer)
        self._class("G2-item", layer, walks, Rule(ITEM, "adjacent", timed), RW, labels, labels)

    def _components(self, walks: Walks, kinds: int, layer: Layer) -> Ints:
        chosen = (walks.kind & kinds) != 0
        nodes, source, target = self._timed(
            len(self._names), walks.source[chosen], walks.target[chosen], layer, ()
        )
        return cyclic(nodes, source, target)[: len(self._names)]

    def _without_adjacent_rw(self, walks: Walks, layer: Layer) -> tuple[Ints, Ints]:
        """Components of the graph whose node `t` stands for `t` reached by a dependency or in time, and `n + t`
        for `t` reached by an rw, which no second rw may leave. Snapshot isolation is its being acyclic."""
        n = len(self._names)
        rw = walks.kind == RW
        source, target = walks.source[~rw], walks.target[~rw]
        nodes, sources, targets = self._timed(
            2 * n,
            np.concatenate([source, source + n, walks.source[rw]]),
            np.concatenate([target, target, walks.target[rw] + n]),
            layer,
            (n,),
        )
        labels = cyclic(nodes, sources, targets)
        return labels[:n], labels[n : 2 * n]

    def _timed(
        self, nodes: int, source: Ints, target: Ints, layer: Layer, twins: Sequence[int]
    ) -> tuple[int, Ints, Ints]:
        """The graph with the layer's order of time; a `twin` is how far behind a node its second form stands, which
        comes before the same others."""
        if layer == "-process":
            before, after = process_order(self._process, self._committed)
            starts = [before, *(before + twin for twin in twins)]
            return (
                nodes,
                np.concatenate([source, *starts]),
                np.concatenate([target, *[after for _ in starts]]),
            )
        if layer == "-realtime":
            ended = np.flatnonzero(self._completed != NEVER)
            ended = ended[np.argsort(self._completed[ended], kind="stable")]
            chain = nodes + np.arange(len(ended))
            nodes, source, target = with_realtime(nodes, source, target, self._invoked, self._completed)
            source = np.concatenate([source, *(ended + twin for twin in twins)])
            target = np.concatenate([target, *(chain for _ in twins)])
        return nodes, source, target

    def _class(
        self,
        base: str,
        layer: Layer,
        walks: Walks,
        rule: Rule,
        start: int,
        after_dependency: Ints,
        after_rw: Ints,
    ) -> None:
        """One search from each edge of the kind `start` inside a component, the most promising first.

        A walk that meets itself falls apart into cycles of which one is of a stronger class. If it was shorter than
        the best cycle of its own class there may be a shorter one still: then the stronger names stand for both.
        """
        name = base + layer
        arrives = after_rw if start == RW else after_dependency
        inside = np.flatnonzero(walks.kind == start)
        label = after_dependency[walks.source[inside]]
        inside = inside[(label >= 0) & (label == arrives[walks.target[inside]])]
        if not len(inside):
            return
        walks.stay_inside(after_dependency, after_rw)
        inside = inside[np.argsort(self._distance(walks, inside, layer), kind="stable")]
        best: dict[int, Cycle] = {}
        other: dict[int, int] = {}
        spent = 0
        for edge in inside.tolist():
            component = int(after_dependency[walks.source[edge]])
            known = best.get(component)
            if known is not None and len(known) == 2:
                continue
            if (known is None and len(best) >= MOST_COMPONENTS) or (
                spent > BUDGET and (known is not None or component in best)
            ):
                continue
            if spent > 4 * BUDGET:
                self.cut.append(name)
                break
            walk, cost = walks.shortest(edge, rule, None if known is None else len(known))
            spent += cost
            for cycle in simple_cycles(walk):
                called = self._name(cycle, name)
                if called != name:
                    self._record(called, cycle)
                    other[component] = min(len(walk), other.get(component, len(walk)))
                elif known is None or len(cycle) < len(known):
                    best[component] = known = cycle
        for component, cycle in best.items():
            if len(cycle) <= other.get(component, len(cycle)):
                self._record(name, cycle)
        if spent > BUDGET and name not in self.cut:
            self.cut.append(name)

    def _distance(self, walks: Walks, rows: Ints, layer: Layer) -> Ints:
        """0 for edges that one edge back makes a cycle, else how far apart the two began."""
        source, target = walks.source[rows], walks.target[rows]
        back = target * len(self._names) + source
        there = np.sort(walks.source * len(self._names) + walks.target)
        place = np.minimum(np.searchsorted(there, back), len(there) - 1)
        short = there[place] == back
        if layer:
            short = self._completed[target] < self._invoked[source]
        if layer == "-process":
            short &= self._process[source] == self._process[target]
        return np.where(short, 0, 1 + np.abs(self._invoked[source] - self._invoked[target]))

    def _name(self, cycle: Cycle, asked: str) -> str:
        if asked == "long-fork" and is_long_fork(cycle):
            return asked
        return classify(cycle, lambda a, b: bool(self._process[a] == self._process[b]))

    def _record(self, name: str, cycle: Cycle) -> None:
        """The shortest cycles of a name that have no transaction in common."""
        told = tuple(
            Step(int(self._names[s.source]), int(self._names[s.target]), s.kind, s.edge) for s in cycle
        )
        members = {step.source for step in told}
        known = self.found.setdefault(name, [])
        overlapping = [c for c in known if members & {step.source for step in c}]
        if any(len(c) <= len(told) for c in overlapping):
            return
        self.found[name] = [c for c in known if c not in overlapping]
        if len(self.found[name]) < MOST_COMPONENTS:
            self.found[name].append(told)


_SPACED: Final[tuple[tuple[str, int, Mode], ...]] = (
    ("G-single", ITEM, "none"),
    ("G-nonadjacent", ITEM, "spaced"),
    ("long-fork", WR | RW, "spaced"),
)


def simple_cycles(walk: Cycle) -> list[Cycle]:
    """A closed walk taken apart where it meets itself."""
    cycles: list[Cycle] = []
    path: list[Step] = []
    for step in walk:
        path.append(step)
        for position, earlier in enumerate(path):
            if earlier.source == step.target:
                cycles.append(tuple(path[position:]))
                del path[position:]
                break
    return cycles


def is_long_fork(cycle: Sequence[Step]) -> bool:
    """Two readers, each of which saw the write that the other missed."""
    kinds = [step.kind for step in cycle]
    return kinds in ([RW, WR, RW, WR], [WR, RW, WR, RW])
