"""Whatever replicas do and in whichever order they meet: merging is commutative, associative and idempotent, and the
result is what the model of the same events says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systems.quorum.versions import Cell, WrongType, canonical, merge
from systems.quorum.versions.crdt import NO_COUNTER, NO_SET, Counter, OrSet, added, counted, removed
from systems.quorum.versions.registers import Abd, Column, Lww, Row
from systems.quorum.versions.siblings import EMPTY, Siblings, put

REPLICAS = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["change", "change", "meet"]),
        st.integers(0, REPLICAS - 1),
        st.integers(0, REPLICAS - 1),
        st.integers(-3, 3),
    ),
    max_size=14,
)
Change = Callable[[Any, int, int, int], Cell]
"""(what the replica has, replica, number of the step, a draw) -> what it has then."""


def lww(held: Any, replica: int, number: int, draw: int) -> Cell:
    return Lww(10 + draw, f"n{replica}-{number}", number, draw < 0)


def abd(held: Any, replica: int, number: int, draw: int) -> Cell:
    return Abd((held.counter if held else 0) + 1, f"n{replica}", number, number)


def row(held: Any, replica: int, number: int, draw: int) -> Cell:
    names = ("a",) if draw < 0 else ("a", "b")
    return Row({name: Column(10 + draw, f"n{replica}-{number}", number) for name in names})


def row_with_ties(held: Any, replica: int, number: int, draw: int) -> Cell:
    return Row({name: Column(10, "", number) for name in ("a", "b")})


def counter(held: Any, replica: int, number: int, draw: int) -> Cell:
    return counted(held or NO_COUNTER, draw, f"n{replica}")


def orset(held: Any, replica: int, number: int, draw: int) -> Cell:
    if draw < 0:
        return removed(held or NO_SET, f"e{-draw}")
    return added(held or NO_SET, f"e{draw}", f"n{replica}")


def siblings(held: Any, replica: int, number: int, draw: int) -> Cell:
    before = held or EMPTY
    context = {} if draw < 0 else before.clock
    return put(before, context, number, f"n{replica}", deleted=draw == 3)


def everything_reached(change: Change, steps: list[tuple[str, int, int, int]]) -> list[Cell | None]:
    held: list[Cell | None] = [None] * REPLICAS
    reached: list[Cell | None] = [None]
    for number, (kind, one, other, draw) in enumerate(steps):
        if kind == "meet":
            held[one] = merge(held[one], held[other])
        else:
            held[one] = merge(held[one], change(held[one], one, number, draw))
        reached.append(held[one])
    return reached


@pytest.mark.parametrize("change", [lww, abd, row, row_with_ties, counter, orset, siblings])
@given(steps=STEPS, draws=st.lists(st.integers(0, 99), min_size=3, max_size=3))
def test_laws_of_merging(change: Change, steps: list[tuple[str, int, int, int]], draws: list[int]) -> None:
    reached = everything_reached(change, steps)
    a, b, c = (reached[draw % len(reached)] for draw in draws)
    assert canonical(merge(a, b)) == canonical(merge(b, a))
    assert canonical(merge(a, merge(b, c))) == canonical(merge(merge(a, b), c))
    assert canonical(merge(a, a)) == canonical(a)
    assert canonical(merge(merge(a, b), a)) == canonical(merge(a, b))


def test_two_kinds_never_merge() -> None:
    with pytest.raises(WrongType, match="Lww meets Counter"):
        merge(Lww(1, "a"), NO_COUNTER)


@given(STEPS)
def test_a_counter_is_the_sum_of_what_a_replica_knows(steps: list[tuple[str, int, int, int]]) -> None:
    held: list[Counter] = [NO_COUNTER] * REPLICAS
    known: list[frozenset[int]] = [frozenset()] * REPLICAS
    for number, (kind, one, other, draw) in enumerate(steps):
        if kind == "meet":
            merged = merge(held[one], held[other])
            assert isinstance(merged, Counter)
            held[one], known[one] = merged, known[one] | known[other]
        else:
            held[one], known[one] = counted(held[one], draw, f"n{one}"), known[one] | {number}
        assert held[one].value == sum(steps[n][3] for n in known[one])


@given(STEPS)
def test_an_add_that_a_remove_has_not_seen_wins(steps: list[tuple[str, int, int, int]]) -> None:
    held: list[OrSet] = [NO_SET] * REPLICAS
    adds: list[frozenset[tuple[str, int]]] = [frozenset()] * REPLICAS
    gone: list[frozenset[tuple[str, int]]] = [frozenset()] * REPLICAS
    for number, (kind, one, other, draw) in enumerate(steps):
        if kind == "meet":
            merged = merge(held[one], held[other])
            assert isinstance(merged, OrSet)
            held[one] = merged
            adds[one], gone[one] = adds[one] | adds[other], gone[one] | gone[other]
        else:
            changed = orset(held[one], one, number, draw)
            assert isinstance(changed, OrSet)
            held[one] = changed
            if draw < 0:
                gone[one] |= {(e, n) for e, n in adds[one] if e == f"e{-draw}"}
            else:
                # An add replaces the adds of the element that it has seen.
                gone[one] |= {(e, n) for e, n in adds[one] if e == f"e{draw}"}
                adds[one] |= {(f"e{draw}", number)}
        assert sorted(held[one].elements) == sorted({e for e, _ in adds[one] - gone[one]})


class Client(NamedTuple):
    """What it has last read: a context, and the puts that it stands for."""

    context: dict[str, int]
    seen: frozenset[int]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["read", "put", "put", "blind", "meet"]),
            st.integers(0, REPLICAS - 1),
            st.integers(0, REPLICAS - 1),
        ),
        max_size=20,
    )
)
def test_siblings_are_the_maximal_antichain_of_the_puts_that_a_replica_knows(
    steps: list[tuple[str, int, int]],
) -> None:
    """Client i reads and puts at any replica with the context of its last read."""
    held: list[Siblings] = [EMPTY] * REPLICAS
    known: list[frozenset[int]] = [frozenset()] * REPLICAS
    clients = [Client({}, frozenset())] * REPLICAS
    past: dict[int, frozenset[int]] = {}
    for number, (kind, one, other) in enumerate(steps):
        match kind:
            case "read":
                clients[one] = Client(held[other].clock, known[other])
            case "meet":
                merged = merge(held[one], held[other])
                assert isinstance(merged, Siblings)
                held[one], known[one] = merged, known[one] | known[other]
            case _:
                client = Client({}, frozenset()) if kind == "blind" else clients[one]
                held[other] = put(held[other], client.context, number, f"n{other}")
                past[number] = client.seen
                known[other] = known[other] | client.seen | {number}
        for at in range(REPLICAS):
            covered = frozenset().union(*(past[n] for n in known[at])) if known[at] else frozenset()
            assert sorted(s.value for s in held[at].values) == sorted(known[at] - covered)


def test_s16_two_interleaving_clients_never_have_more_than_two_siblings() -> None:
    """Each puts with the context that its own last put gave it."""
    held = EMPTY
    contexts: list[dict[str, int]] = [{}, {}]
    for number in range(20):
        held = put(held, contexts[number % 2], number, "n1")
        contexts[number % 2] = held.clock
        assert len(held.values) <= 2
