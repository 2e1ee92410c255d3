"""The largest antichain, against trying every subset."""

from __future__ import annotations

import random
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.antichains import width


def drawn(seed: int) -> dict[int, frozenset[int]]:
    rng = random.Random(seed)
    past: dict[int, frozenset[int]] = {}
    for n in range(rng.randint(1, 9)):
        saw = [m for m in range(n) if rng.random() < 0.3]
        past[n] = frozenset(saw).union(*(past[m] for m in saw))
    return past


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_width(seed: int) -> None:
    past = drawn(seed)
    antichains = (
        len(some)
        for size in range(1, len(past) + 1)
        for some in combinations(past, size)
        if not any(a in past[b] or b in past[a] for a, b in combinations(some, 2))
    )
    assert width(list(past), past) == max(antichains)
