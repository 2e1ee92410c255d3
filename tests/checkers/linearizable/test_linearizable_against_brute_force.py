"""Every order of up to seven operations is tried: the zones, the search and the proofs must agree with that."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_histories import MODEL_OPERATIONS, model_calls, register_history

from checkers.linearizable.evidence import PHANTOM, earliest
from checkers.linearizable.models import MODELS, Call
from checkers.linearizable.partition import calls_of, objects, until
from checkers.linearizable.search import search
from checkers.linearizable.verify import impossible, legal_order
from checkers.linearizable.zones import zones
from harness.columns import columns_of
from harness.history import History

REGISTER = MODELS["cas-register"]


def check_register(history: History) -> str:
    columns = columns_of(history)
    calls, _ = calls_of(columns, REGISTER)
    initial = calls.values.index(None)
    every = objects(calls, columns)
    illegal = impossible(every, REGISTER)
    found = search(every, REGISTER)
    assert found.legal is not illegal
    if found.legal:
        assert legal_order(found.order, every, REGISTER)
    judged = zones(calls, initial)
    broken = bool(len(judged.broken()))
    if len(judged.found.ambiguous):
        assert illegal or not broken
        return "ambiguous"
    assert broken is illegal
    if not broken:
        return "valid"
    proof, prefix = earliest(calls, initial)
    assert impossible(objects(prefix, columns), REGISTER), "the prefix is not impossible yet"
    assert not impossible(objects(until(calls, proof.place - 1), columns), REGISTER), "a shorter one is"
    rows = set(proof.rows)
    assert proof.culprit in rows
    if proof.label != PHANTOM:
        small = rooted([call for call in objects(prefix, columns) if call.row in rows])
        assert impossible(small, REGISTER), f"{proof.label}: these operations alone are possible"
    return proof.label


def rooted(calls: list[Call]) -> list[Call]:
    """A compare-and-set whose old value nobody of these wrote demands less as a plain write."""
    written = {c.asked if c.f == "write" else c.asked[1] for c in calls if c.f != "read"} | {None}
    return [
        c._replace(f="write", asked=c.asked[1]) if c.f == "cas" and c.asked[0] not in written else c
        for c in calls
    ]


def drawn(seed: int) -> History:
    rng = random.Random(seed)
    return register_history(
        rng, cas=rng.random() < 0.5, unique=rng.random() < 0.8, lie=rng.choice((0, 0.2, 0.6))
    )


@settings(max_examples=2_000, deadline=None)
@given(st.integers(0, 2**32))
def test_registers(seed: int) -> None:
    check_register(drawn(seed))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(MODEL_OPERATIONS)), st.integers(0, 2**32))
def test_every_model(name: str, seed: int) -> None:
    check_model(name, seed)


def check_model(name: str, seed: int) -> bool:
    calls = model_calls(random.Random(seed), name, most=6)
    model = MODELS[name]
    found = search(calls, model)
    illegal = impossible(calls, model)
    assert found.legal is not illegal
    if found.legal:
        assert legal_order(found.order, calls, model)
    return illegal


def test_what_is_drawn_is_of_every_kind() -> None:
    seen = {check_register(drawn(seed)) for seed in range(1_500)}
    assert seen == {
        "ambiguous",
        "valid",
        "stale-read",
        "new/old inversion",
        "lost-update",
        "phantom-read",
    }
    for name in MODEL_OPERATIONS:
        illegal = sum(check_model(name, seed) for seed in range(60))
        assert 5 <= illegal <= 55, f"{name}: {illegal} of 60 are illegal"


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_a_hundred_thousand() -> None:
    for seed in range(100_000):
        check_register(drawn(seed))
    for seed in range(7_000):
        for name in MODEL_OPERATIONS:
            check_model(name, seed)
