"""Breadth-first search for the shortest closed walk through an edge, in a graph whose states remember the rw edges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from checkers.transactions.graph import PO, RT, RW
from checkers.transactions.micro_operations import NEVER, Flags, Ints

_LAST_RW: Final = 1
_ENOUGH: Final = 2
_TIMED: Final = 4
_STATES: Final = 8


Mode = Literal["none", "spaced", "adjacent"]


@dataclass(frozen=True, slots=True)
class Step:
    """One edge of a cycle: `edge` is its row in the graph, -1 for an order of time."""

    source: int
    target: int
    kind: int
    edge: int


@dataclass(frozen=True, slots=True)
class Rule:
    """What a walk may follow after its first edge. `mode` says which rw: none; `spaced`, at least one more and no
    two adjacent; `adjacent`, any with two adjacent ones. `timed` asks for an edge of process order or real time."""

    kinds: int
    mode: Mode
    timed: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """An order of time without edges. `lines[k]` holds nodes by beginning; `after(v)` gives, for each line on which
    something comes after node `v`, the line, the place from which on, and whether the step takes the order that
    the layer is about. So a search visits each node once a state."""

    kind: int
    lines: list[list[int]]
    after: Callable[[int], Sequence[tuple[int, int, bool]]]


MOST_EXACT: Final = 200_000
"""Nodes times processes up to which a step within a process is told from one that only real time allows."""


def realtime_lines(invoked: Ints, completed: Ints, process: Ints) -> Timeline:
    """Nodes are numbered in order of invocation: what began after an end is a suffix of them. In small graphs there
    is a line a process, because an order of the process itself needs no real time."""
    n = len(invoked)
    if n * len(np.unique(process)) > MOST_EXACT:
        later = np.where(completed == NEVER, n, np.searchsorted(invoked, completed, side="right")).tolist()
        return Timeline(RT, [list(range(n))], lambda node: [(0, later[node], True)])
    lines, own = _by_process(process, np.ones(n, dtype=np.bool_))
    began = [[int(invoked[node]) for node in line] for line in lines]
    ended = completed.tolist()
    return Timeline(
        RT,
        lines,
        lambda node: [
            (line, bisect_right(begins, ended[node]), line != own[node]) for line, begins in enumerate(began)
        ],
    )


def process_lines(process: Ints, chosen: Flags) -> Timeline:
    """One line a process; what is not chosen stands on none."""
    lines, own = _by_process(process, chosen)
    place = {node: number for line in lines for number, node in enumerate(line)}
    return Timeline(PO, lines, lambda node: [(own[node], place[node] + 1, True)] if node in place else [])


def _by_process(process: Ints, chosen: Flags) -> tuple[list[list[int]], list[int]]:
    names, number = np.unique(process, return_inverse=True)
    lines: list[list[int]] = [[] for _ in names]
    for node in np.flatnonzero(chosen).tolist():
        lines[number[node]].append(node)
    return lines, number.tolist()


class Walks:
    """A graph of data edges, and perhaps an order of time beside them."""

    def __init__(
        self, source: Ints, target: Ints, kind: Ints, edge: Ints, nodes: int, timeline: Timeline | None
    ) -> None:
        order = np.argsort(source, kind="stable")
        self.source, self.target, self.kind = source[order], target[order], kind[order]
        self._edge = edge[order]
        self._timeline = timeline
        self._begin = np.searchsorted(self.source, np.arange(nodes + 1)).tolist()
        self._targets, self._kinds = self.target.tolist(), self.kind.tolist()
        self._inside: tuple[list[int], list[int]] = ([], [])

    def stay_inside(self, after_dependency: Ints, after_rw: Ints) -> None:
        """Searches leave the component they start in no more."""
        self._inside = (after_dependency.tolist(), after_rw.tolist())

    def shortest(self, start: int, rule: Rule, shorter_than: int | None) -> tuple[tuple[Step, ...], int]:
        """The shortest closed walk that begins with the edge in row `start` (empty if there is none, or none that is
        `shorter_than`), and how many edges were followed."""
        goal, first = int(self.source[start]), int(self.target[start])
        kind = int(self.kind[start])
        label = self._inside[0][goal]
        begin = first * _STATES + (_LAST_RW if kind == RW else 0)
        parents: dict[int, tuple[int, int]] = {begin: (-1, start)}
        unreached: dict[tuple[int, int], int] = {}
        level, cost, length = [begin], 0, 1
        while level and (shorter_than is None or length + 1 < shorter_than):
            length += 1
            following: list[int] = []
            for state in level:
                node, memory = divmod(state, _STATES)
                steps = [
                    (self._targets[row], _remember(memory, self._kinds[row], rule), row)
                    for row in range(self._begin[node], self._begin[node + 1])
                    if self._kinds[row] & rule.kinds
                ]
                if self._timeline is not None:
                    steps += self._later(node, memory, unreached)
                cost += 1 + len(steps)
                for target, after, row in steps:
                    if after < 0 or self._inside[after & _LAST_RW][target] != label:
                        continue
                    reached = target * _STATES + after
                    if reached not in parents:
                        parents[reached] = (state, row)
                        if target == goal and _accepts(after, rule):
                            return self._walk(parents, reached), cost
                        following.append(reached)
            level = following
        return (), cost

    def _later(
        self, node: int, memory: int, unreached: dict[tuple[int, int], int]
    ) -> list[tuple[int, int, int]]:
        """What comes after the node in time and was not reached in the same state from another node of the line."""
        assert self._timeline is not None
        found: list[tuple[int, int, int]] = []
        for line, begin, timed in self._timeline.after(node):
            after = memory & ~_LAST_RW | (_TIMED if timed else 0)
            nodes = self._timeline.lines[line]
            end = unreached.get((line, after), len(nodes))
            if begin < end:
                unreached[line, after] = begin
                found += [(target, after, -1) for target in nodes[begin:end]]
        return found

    def _walk(self, parents: dict[int, tuple[int, int]], state: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        while state >= 0:
            before, row = parents[state]
            node = state // _STATES
            if row < 0:
                assert self._timeline is not None
                steps.append(Step(before // _STATES, node, self._timeline.kind, -1))
            else:
                steps.append(Step(int(self.source[row]), node, int(self.kind[row]), int(self._edge[row])))
            state = before
        return tuple(reversed(steps))


def _remember(memory: int, kind: int, rule: Rule) -> int:
    """The memory after a data edge; -1 where the rule forbids it."""
    if kind == RW:
        if rule.mode == "none" or (rule.mode == "spaced" and memory & _LAST_RW):
            return -1
        enough = rule.mode == "spaced" or memory & _LAST_RW
        return memory | _LAST_RW | (_ENOUGH if enough else 0)
    return memory & ~_LAST_RW


def _accepts(memory: int, rule: Rule) -> bool:
    if rule.timed and not memory & _TIMED:
        return False
    if rule.mode == "none":
        return True
    if rule.mode == "spaced":
        return bool(memory & _ENOUGH) and not memory & _LAST_RW
    return bool(memory & (_ENOUGH | _LAST_RW))
