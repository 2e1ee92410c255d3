"""Of every class the shortest cycle is found, and none is missed that stands alone: against all simple cycles."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from checkers.transactions.cycles import classify, find_cycles
from checkers.transactions.graph import RT, RW, WR, WW, Graph
from checkers.transactions.micro_operations import NEVER, Transactions
from checkers.transactions.walks import Step

STRENGTH = ("G0", "G1c", "G-single", "G-nonadjacent", "G2-item")


def random_case(rng: random.Random) -> tuple[Transactions, Graph]:
    """A few transactions of a few processes, and dependencies between any of them."""
    n = rng.randint(2, 6)
    clock = dict.fromkeys(range(3), 0)
    rows = []
    for _ in range(n):
        p = rng.randrange(3)
        begin = clock[p] + rng.randint(1, 6)
        end = begin + rng.randint(1, 12)
        clock[p] = end
        rows.append((begin * 10 + p, end * 10 + 5 + p, p))
    rows.sort()
    none = np.zeros(0, dtype=np.int64)
    begun, ended, process = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    unknown = rng.randrange(n)
    if process[unknown] not in process[unknown + 1 :]:
        ended[unknown] = NEVER
    zero = np.zeros(n, dtype=np.int64)
    txns = Transactions(
        process=process, outcome=zero.astype(np.int8), invoked=begun, completed=ended, invoke_index=begun,
        complete_index=ended, invoke_time=begun, complete_time=ended, first=zero, count=zero, txn=none,
        kind=none.astype(np.int8), key=none, value=none, start=none, length=none, elements=none, keys=[], others=[],
        processes=range(3), where=str,
    )  # fmt: skip
    edges = [
        (a, b, rng.choice([WW, WR, RW, RW]))
        for a in range(n)
        for b in range(n)
        if a != b and rng.random() < 0.3
    ]
    source, target, kind = (np.array([e[i] for e in edges], dtype=np.int64) for i in range(3))
    return txns, Graph(n, source, target, kind.astype(np.int8), source, target)


def every_cycle(txns: Transactions, graph: Graph) -> Iterator[tuple[Step, ...]]:
    """All simple cycles, with an edge of real time wherever there is one."""
    steps = [
        Step(int(s), int(t), int(k), -1)
        for s, t, k in zip(graph.source, graph.target, graph.kind, strict=True)
    ]
    n = len(txns)
    steps += [Step(a, b, RT, -1) for a in range(n) for b in range(n) if txns.completed[a] < txns.invoked[b]]

    def extend(path: list[Step]) -> Iterator[tuple[Step, ...]]:
        for step in steps:
            if step.source != path[-1].target or step.target < path[0].source:
                continue
            if step.target == path[0].source:
                yield (*path, step)
            elif step.target not in {s.source for s in path}:
                yield from extend([*path, step])

    for first in steps:
        if first.target > first.source:
            yield from extend([first])


@pytest.mark.parametrize("seed", range(150))
def test_against_all_simple_cycles(seed: int) -> None:
    txns, graph = random_case(random.Random(seed))
    committed = np.ones(len(txns), dtype=np.bool_)
    shortest: dict[str, int] = {}
    for cycle in every_cycle(txns, graph):
        if all(step.kind == RT for step in cycle):
            continue
        name = classify(cycle, lambda a, b: bool(txns.process[a] == txns.process[b]))
        shortest[name] = min(shortest.get(name, 99), len(cycle))
    found = find_cycles(txns, graph, committed).found
    found = {name: cycles for name, cycles in found.items() if name != "long-fork"}
    assert set(found) <= set(shortest)
    for name, cycles in found.items():
        assert min(map(len, cycles)) == shortest[name], (name, cycles)
    for missed in set(shortest) - set(found):
        base = missed.split("-process")[0].split("-realtime")[0]
        layer = missed[len(base) :]
        at_least = (
            ("",) if not layer else ("", "-process") if layer == "-process" else ("", "-process", "-realtime")
        )
        stronger = {b + at for b in STRENGTH[: STRENGTH.index(base) + 1] for at in at_least} - {missed}
        assert stronger & set(found), (missed, found)
