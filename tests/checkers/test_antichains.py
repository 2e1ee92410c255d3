"""The largest antichain, against trying every subset."""

from __future__ import annotations

import random
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.antichains import width


def drawn(seed: int) -> list[int]:
    rng = random.Random(seed)
    past: list[int] = []
    for n in range(rng.randint(1, 9)):
        bits = 0
        for m in range(n):
            if rng.random() < 0.3:
                bits |= 1 << m | past[m]
        past.append(bits)
    return past


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_width(seed: int) -> None:
    past = drawn(seed)
    everything = range(len(past))
    antichains = (
        len(some)
        for size in range(1, len(past) + 1)
        for some in combinations(everything, size)
        if not any(past[b] >> a & 1 for a, b in combinations(some, 2))
    )
    assert width(everything, past) == max(antichains)
