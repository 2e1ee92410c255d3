"""The `exactly-once` checker finds exactly what the definitions, applied without thought of speed, find: on legal
histories that were damaged at random in several places."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from log_model import INPUTS, OUTPUTS, eos_history
from naive_exactly_once import violations

from checkers.exactly_once.checker import find
from checkers.exactly_once.outputs import collect_outputs
from checkers.exactly_once.transfers import collect
from checkers.log.observations import observe
from harness.history import History
from harness.ops import Op


def found(history: History) -> set[tuple[str, str, Any, int | None]]:
    seen = observe(history)
    transfers = collect(seen, offsets_in_transaction=True)
    return {
        (f.name, f.partition, f.value, f.offset)
        for f in find(seen, transfers, collect_outputs(seen, transfers))
    }


def damaged(history: History, rng: random.Random) -> History:
    rate = rng.choice((0.01, 0.05, 0.2))
    outputs = [
        r[2] for op in history if op.f == "final-read" and op.type == "ok" for r in op.value if "by" in r[2]
    ]
    gone = {v for v in outputs if rng.random() < rate}

    def edit(op: Op) -> Op:
        replace = msgspec.structs.replace
        if op.f == "final-read" and op.type == "ok":
            records = [r for r in op.value if r[2] not in gone]
            if records and outputs and rng.random() < rate * 3:
                other = rng.choice(outputs)
                if rng.random() < 0.3:
                    other = other.replace(" by ", rng.choice(("9 by ", " by 7")))
                records = [*records[:-1], [records[-1][0], records[-1][1], other]]
            extra = op.extra
            if rng.random() < rate / 4:
                extra = extra | {"high_watermark": extra["end"] + 1}
            elif rng.random() < rate / 4:
                extra = extra | {"reached": False}
            return replace(op, value=records, extra=extra)
        if op.f == "transfer" and op.type == "ok" and rng.random() < rate:
            return replace(op, type="fail", error="aborted")
        if op.f == "committed" and op.type == "ok" and rng.random() < rate * 5:
            value = [[name, None if rng.random() < 0.3 else rng.randrange(30)] for name, _ in op.value]
            return replace(op, value=value)
        if "resumed" in op.extra and rng.random() < rate * 3:
            resumed = [[name, max(0, offset - rng.randrange(3))] for name, offset in op.extra["resumed"]]
            return replace(op, extra=op.extra | {"resumed": resumed})
        return op

    return History([edit(op) for op in history.ops])


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 200))
# No transaction lived to tell what it read.
@example(211490, 40)
def test_on_damaged_runs(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    history = damaged(eos_history(rng, steps), rng)
    assert found(history) == violations(history, list(INPUTS), list(OUTPUTS))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 200))
def test_on_legal_runs(seed: int, steps: int) -> None:
    history = eos_history(random.Random(seed), steps)
    assert found(history) == violations(history, list(INPUTS), list(OUTPUTS)) == set()
