"""Committed and pending offsets follow the order of the log, in whatever order they are acknowledged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from systems.broker.groups.offsets import Committed, Offsets

PARTITION = ("orders", 0)

Event = tuple[str, int, bool]
"""("commit" | "hold" | "end", producer, commit) in the order of the log; its place is its position."""


def apply(offsets: Offsets, position: int, event: Event) -> None:
    kind, producer, commit = event
    entry = Committed(position, -1, "", position)
    if kind == "commit":
        offsets.commit("g", PARTITION, entry)
    elif kind == "hold":
        offsets.hold(producer, "g", PARTITION, entry)
    else:
        offsets.end(producer, position, commit=commit)


def reference(events: list[Event]) -> tuple[int | None, bool]:
    """(committed offset, is something pending), read straight off the log: the newest record whose
    transaction, if it has one, was committed."""
    committed = [-1]
    pending: dict[int, int] = {}
    for position, (kind, producer, commit) in enumerate(events):
        if kind == "commit":
            committed.append(position)
        elif kind == "hold":
            pending[producer] = position
        elif producer in pending:
            offset = pending.pop(producer)
            committed += [offset] if commit else []
    newest = max(committed)
    return (None if newest < 0 else newest), bool(pending)


def seen(offsets: Offsets) -> tuple[int | None, bool]:
    found = offsets.committed.get("g", {}).get(PARTITION)
    return (None if found is None else found.offset), offsets.unstable("g", PARTITION)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["commit", "hold", "end"]), st.integers(1, 2), st.booleans()), max_size=12
)


@given(EVENTS)
def test_a_replay_sees_what_the_log_says(events: list[Event]) -> None:
    offsets = Offsets()
    for position, event in enumerate(events):
        apply(offsets, position, event)
    assert seen(offsets) == reference(events)


@given(EVENTS, st.randoms())
def test_neighbours_acknowledged_in_another_order_change_nothing(events: list[Event], random) -> None:
    """Appends that wait together are acknowledged together, in any order: here pairs of neighbours swap.
    (Never two markers: a producer's next transaction ends after the one before.)"""
    order = list(range(len(events)))
    for place in range(0, len(order) - 1, 2):
        both_end = events[place][0] == events[place + 1][0] == "end"
        if not both_end and random.random() < 0.5:
            order[place], order[place + 1] = order[place + 1], order[place]
    offsets = Offsets()
    for position in order:
        apply(offsets, position, events[position])
    assert seen(offsets) == reference(events)
