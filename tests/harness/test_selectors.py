"""Selectors: grammar, draws, names that contain the operator, and what a mistake is answered with."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.node import NodeEvent
from harness.selectors import parse, resolve
from harness.topology import NodeInfo, Topology

TOPOLOGY = Topology(
    nodes=tuple(NodeInfo(f"b{i}", "broker", i, 9000 + i) for i in (1, 2, 3))
    + tuple(NodeInfo(f"c{i}", "controller", i + 100, 9100 + i) for i in (1, 2, 3)),
    clients=("client-0", "client-1"),
    subjects={"leader": ("orders/0", "orders/1"), "isr": ("orders/0",)},
)


class View:
    answers: ClassVar = {
        ("leader", "orders/0"): ("b2",),
        ("leader", "orders/1"): ("b3",),
        ("isr", "orders/0"): ("b2", "b1"),
        ("controller", ""): ("c1",),
        ("coordinator", "txn-(7"): ("b1",),
    }

    def observe(self, event: NodeEvent) -> None: ...

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        if function == "group-coordinator":
            raise KeyError(function)
        return self.answers.get((function, argument), ())

    def snapshot(self) -> dict[str, object]:
        return {}


def select(text: str, seed: int = 0) -> tuple[str, ...]:
    return resolve(parse(text, TOPOLOGY), TOPOLOGY, View(), random.Random(seed))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b2", ("b2",)),
        ("all", ("b1", "b2", "b3", "c1", "c2", "c3")),
        ("brokers", ("b1", "b2", "b3")),
        ("clients", ("client-0", "client-1")),
        ("client-1", ("client-1",)),
        ("clients-client-1", ("client-0",)),
        ("brokers-leader(orders/0)", ("b1", "b3")),
        ("brokers - leader(orders/0) - b1", ("b3",)),
        ("leader(orders/0)+controller", ("b2", "c1")),
        ("isr(orders/0)", ("b1", "b2")),
        ("brokers-(isr(orders/0)+b3)", ()),
        ("all-brokers-controllers", ()),
        ("leader(orders/9)", ()),
        ("coordinator(txn-(7)", ("b1",)),
        ("outside-isr(orders/0)-b1", ()),
        ("minority(b1)", ()),
    ],
)
def test_resolution(text: str, expected: tuple[str, ...]) -> None:
    assert select(text) == expected


@given(st.integers())
def test_a_minority_leaves_every_role_a_majority(seed: int) -> None:
    chosen = select("minority", seed)
    assert sum(n.startswith("b") for n in chosen) == 1
    assert sum(n.startswith("c") for n in chosen) == 1
    chosen = select("majority", seed)
    assert sum(n.startswith("b") for n in chosen) == 2
    assert sum(n.startswith("c") for n in chosen) == 2


@given(st.integers())
def test_draws_stay_inside_their_selector(seed: int) -> None:
    assert len(select("one-of(isr(orders/0))", seed)) == 1
    assert set(select("one-of(isr(orders/0))", seed)) <= {"b1", "b2"}
    assert len(select("minority(brokers)", seed)) == 1
    assert len(select("majority(brokers)", seed)) == 2
    assert len(select("random", seed)) == 1
    assert select("leader", seed) in (("b2",), ("b3",))
    assert select("random", seed) == select("random", seed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("broker", "did you mean 'brokers'"),
        ("b4", "unknown selector 'b4'"),
        ("leader(orders/0", r"missing '\)'"),
        ("one-of", "one-of needs a selector"),
        ("b1 b2", "unexpected 'b'"),
        ("", "expected a node"),
        ("b1+", "expected a node"),
        ("group-coordinator(g)", "not one of this system"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        select(text)
