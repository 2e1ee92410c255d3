"""Up to six transactions, every order tried: what the checker claims, brute force refutes."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from brute_force import possible
from hypothesis import given, settings
from hypothesis import strategies as st
from multi_version_store import LEVELS, Store

from checkers.transactions import ElleChecker
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Op

JUDGED = ("snapshot-isolation", "serializable", "strict-serializable")
MUTATED = int(os.environ.get("CHAOS_MUTATED_HISTORIES", "60"))


def small_history(rng: random.Random, *, lists: bool, mutate: bool) -> History:
    """From the store, at a level that is drawn, and then with one read changed."""
    store = Store(rng, rng.choice(LEVELS), lists=lists, crash=rng.choice([0.0, 0.0, 0.2]))
    history = store.run(rng.randint(2, 6), processes=rng.randint(2, 4), keys=rng.randint(1, 3), longest=3)
    return mutated(rng, history, lists=lists) if mutate else history


def mutated(rng: random.Random, history: History, *, lists: bool) -> History:
    """One read of one committed transaction shows another value that was written to the key, or an end cut off."""
    reads = [
        (position, number)
        for position, op in enumerate(history.ops)
        if op.type == "ok"
        for number, micro in enumerate(op.value)
        if micro[0] == "r"
    ]
    if not reads:
        return history
    position, number = rng.choice(reads)
    _, key, seen = history.ops[position].value[number]
    written = [
        v for op in history.ops if op.type == "invoke" for f, k, v in op.value if k == key and f != "r"
    ]
    read: Any
    if not lists:
        read = rng.choice([None, *written])
    elif seen and rng.random() < 0.6:
        read = seen[: rng.randrange(len(seen))]
    else:
        read = [*seen, *[v for v in written if v not in seen][:1]]
    return History(
        _with_read(op, number, read) if at == position else op for at, op in enumerate(history.ops)
    )


def _with_read(op: Op, number: int, read: Any) -> Op:
    value = [list(micro) for micro in op.value]
    value[number][2] = read
    return msgspec.structs.replace(op, value=value)


def claims(history: History, *, lists: bool) -> set[str]:
    """The models that the checker rules out."""
    options = {"model": "list-append" if lists else "rw-register"}
    return set(ElleChecker().check(history, CheckContext(options=options)).measures["ruled_out"])


def agree(history: History, *, lists: bool, tally: Counter[str]) -> None:
    ruled_out = claims(history, lists=lists)
    for level in JUDGED:
        fits = possible(history, level)
        claimed = level in ruled_out
        assert not (claimed and fits), (level, [(op.type, op.process, op.value) for op in history.ops])
        tally[f"{level}: {'named' if claimed else 'missed' if not fits else 'legal'}"] += 1


@pytest.mark.parametrize("lists", [True, False], ids=["list-append", "rw-register"])
@given(rng=st.randoms(use_true_random=False), mutate=st.booleans())
@settings(max_examples=60, deadline=None)
def test_nothing_is_claimed_that_brute_force_does_not_refute(
    lists: bool, rng: random.Random, mutate: bool
) -> None:
    agree(small_history(rng, lists=lists, mutate=mutate), lists=lists, tally=Counter())


@pytest.mark.parametrize("lists", [True, False], ids=["list-append", "rw-register"])
def test_how_much_of_what_brute_force_refutes_is_named(lists: bool) -> None:
    """A list shows its whole past: little is missed. A register shows one value, and its past must be guessed."""
    tally: Counter[str] = Counter()
    for seed in range(MUTATED):
        agree(small_history(random.Random(seed), lists=lists, mutate=True), lists=lists, tally=tally)
    print("list-append" if lists else "rw-register", sorted(tally.items()))
    for level in JUDGED:
        named, missed = tally[f"{level}: named"], tally[f"{level}: missed"]
        assert named >= (0.95 if lists else 0.9) * (named + missed), tally
