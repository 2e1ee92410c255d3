"""Damage to valid histories is noticed exactly as often as trying every order notices it; what changes nothing about
a history never changes its verdict."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from small_histories import register_history
from test_linearizable_against_brute_force import check_register, drawn

from checkers.linearizable.checker import LinearizableChecker
from harness.checker import CheckContext
from harness.history import History, read_history
from harness.ops import Op

RECORDED = sorted((Path(__file__).parent.parent / "histories" / "linearizable").glob("*.jsonl"))
replace = msgspec.structs.replace


def swap_a_value(rng: random.Random, ops: list[Op]) -> list[Op]:
    reads = [n for n, op in enumerate(ops) if op.f == "read" and op.type == "ok"]
    values = [op.value for op in ops if op.f == "write"] or [9]
    if reads:
        n = rng.choice(reads)
        ops[n] = replace(ops[n], value=rng.choice(values))
    return ops


def drop_an_ok(rng: random.Random, ops: list[Op]) -> list[Op]:
    """Its operation stays open to the end: no violation by itself."""
    found = [n for n, op in enumerate(ops) if op.type == "ok"]
    if not found:
        return ops
    n = rng.choice(found)
    process, later = ops[n].process, 100 + n
    rest = [replace(op, process=later) if op.process == process else op for op in ops[n + 1 :]]
    return ops[:n] + rest


def shift_a_read(rng: random.Random, ops: list[Op]) -> list[Op]:
    """It begins and ends somewhere else, on a process of its own."""
    reads = [op for op in ops if op.f == "read" and op.type == "ok"]
    if not reads:
        return ops
    ended = rng.choice(reads)
    begun = max(
        (op for op in ops if op.process == ended.process and op.index < ended.index), key=lambda op: op.index
    )
    ops = [op for op in ops if op not in (begun, ended)]
    first, second = sorted(rng.randint(0, len(ops)) for _ in range(2))
    ops.insert(first, replace(begun, process=99))
    ops.insert(second + 1, replace(ended, process=99))
    return ops


@pytest.mark.parametrize("damage", [swap_a_value, drop_an_ok, shift_a_read])
def test_damage_is_noticed_as_often_as_by_brute_force(
    damage: Callable[[random.Random, list[Op]], list[Op]],
) -> None:
    noticed = damaged = 0
    for seed in range(400):
        rng = random.Random(seed)
        whole = register_history(rng, cas=seed % 2 == 0, lie=0)
        if check_register(whole) != "valid":
            continue
        ops = damage(rng, list(whole.ops))
        label = check_register(History(replace(op, index=n, time=n) for n, op in enumerate(ops)))
        damaged += 1
        noticed += label not in ("valid", "ambiguous")
    assert damaged > 200
    assert noticed > 20 or damage is drop_an_ok


def cases() -> list[History]:
    return [read_history(path) for path in RECORDED] + [drawn(seed) for seed in range(150)]


def judged(history: History) -> list[tuple[str, str, int]]:
    result = LinearizableChecker().check(history, CheckContext())
    return sorted((a.name, str(a.data["label"]), a.affected) for a in result.anomalies)


def renamed(op: Op) -> Op:
    def new(value: object) -> object:
        if isinstance(value, list):
            return [new(part) for part in value]
        return None if value is None else f"v{value}"

    return replace(op, value=new(op.value), key=None if op.key is None else f"k{op.key}")


@pytest.mark.parametrize("n", range(len(cases())))
def test_what_must_not_change_a_verdict(n: int) -> None:
    history = cases()[n]
    expected = judged(history)
    assert judged(History(renamed(op) for op in history)) == expected
    assert (
        judged(History(replace(op, index=op.index * 7 + 3, time=op.time * 2) for op in history)) == expected
    )
    if any(op.key is None for op in history):
        return
    unrelated = [
        Op(index=0, time=0, process=77, type=type, f=f, key="other", value=value)  # type: ignore[arg-type]
        for f, value in (("write", 1), ("read", 1), ("write", 2))
        for type in ("invoke", "ok")
    ]
    rng = random.Random(n)
    mixed = list(history)
    for op in unrelated:
        at = rng.randint(max((i + 1 for i, o in enumerate(mixed) if o.key == "other"), default=0), len(mixed))
        mixed.insert(at, op)
    assert judged(History(replace(op, index=i, time=i) for i, op in enumerate(mixed))) == expected
    twin = [replace(op, key=f"{op.key}'", process=f"{op.process}'") for op in history]
    both = History(
        replace(op, index=i, time=i)
        for i, op in enumerate(o for pair in zip(history, twin, strict=True) for o in pair)
    )
    assert judged(both) == sorted((name, label, 2 * count) for name, label, count in expected)
