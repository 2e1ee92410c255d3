"""Breadth-first search for the shortest closed walk through an edge, in a graph whose states remember the rw edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from checkers.transactions.graph import ORDER, RT, RW
from checkers.transactions.micro_operations import NEVER, Ints

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


class Walks:
    """Nodes are numbered in order of invocation, so that what began after an end is a suffix of them: real time
    needs no edges here, and each search visits each node once a state."""

    def __init__(
        self,
        source: Ints,
        target: Ints,
        kind: Ints,
        edge: Ints,
        invoked: Ints,
        completed: Ints,
        *,
        realtime: bool,
    ) -> None:
        order = np.argsort(source, kind="stable")
        self.source, self.target, self.kind = source[order], target[order], kind[order]
        self.realtime = realtime
        self._edge = edge[order]
        n = len(invoked)
        self._begin = np.searchsorted(self.source, np.arange(n + 1)).tolist()
        self._targets, self._kinds = self.target.tolist(), self.kind.tolist()
        later = np.where(completed == NEVER, n, np.searchsorted(invoked, completed, side="right"))
        self._later = later.tolist() if realtime else []
        self._n = n
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
        unreached = [self._n] * _STATES
        level, cost, length = [begin], 0, 1
        while level and (shorter_than is None or length + 1 < shorter_than):
            length += 1
            following: list[int] = []
            for state in level:
                node, memory = divmod(state, _STATES)
                low, high = self._begin[node], self._begin[node + 1]
                cost += 1 + high - low
                for row in range(low, high):
                    edge_kind = self._kinds[row]
                    if not edge_kind & rule.kinds:
                        continue
                    after = _remember(memory, edge_kind, rule)
                    target = self._targets[row]
                    if after < 0 or self._inside[after & _LAST_RW][target] != label:
                        continue
                    reached = target * _STATES + after
                    if reached not in parents:
                        parents[reached] = (state, row)
                        if target == goal and _accepts(after, rule):
                            return self._walk(parents, reached), cost
                        following.append(reached)
                if not self.realtime:
                    continue
                after = _remember(memory, RT, rule)
                inside = self._inside[0]
                for target in range(self._later[node], unreached[after]):
                    reached = target * _STATES + after
                    cost += 1
                    if inside[target] == label and reached not in parents:
                        parents[reached] = (state, -1)
                        if target == goal and _accepts(after, rule):
                            return self._walk(parents, reached), cost
                        following.append(reached)
                unreached[after] = min(unreached[after], self._later[node])
            level = following
        return (), cost

    def _walk(self, parents: dict[int, tuple[int, int]], state: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        while state >= 0:
            before, row = parents[state]
            node = state // _STATES
            if row < 0:
                steps.append(Step(before // _STATES, node, RT, -1))
            else:
                steps.append(Step(int(self.source[row]), node, int(self.kind[row]), int(self._edge[row])))
            state = before
        return tuple(reversed(steps))


def _remember(memory: int, kind: int, rule: Rule) -> int:
    """The memory after an edge; -1 where the rule forbids it."""
    if kind == RW:
        if rule.mode == "none" or (rule.mode == "spaced" and memory & _LAST_RW):
            return -1
        enough = rule.mode == "spaced" or memory & _LAST_RW
        return memory | _LAST_RW | (_ENOUGH if enough else 0)
    memory &= ~_LAST_RW
    return memory | _TIMED if kind & ORDER else memory


def _accepts(memory: int, rule: Rule) -> bool:
    if rule.timed and not memory & _TIMED:
        return False
    if rule.mode == "none":
        return True
    if rule.mode == "spaced":
        return bool(memory & _ENOUGH) and not memory & _LAST_RW
    return bool(memory & (_ENOUGH | _LAST_RW))
