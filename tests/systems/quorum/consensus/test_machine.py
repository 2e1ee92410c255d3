"""The state machine of a range: what its log says happens, in its order, whatever the clocks said."""

from __future__ import annotations

import pytest

from systems.quorum.consensus.machine import RangeMachine, encoded
from systems.quorum.consensus.messages import Decide
from systems.raft.messages import Snapshot

AHEAD, BEHIND = 20, 10


def put(value: int, stamp: int) -> Decide:
    return Decide(0, "put", "k", value, stamp=stamp)


def swap(expected: int | None, value: int, stamp: int) -> Decide:
    return Decide(0, "swap", "k", value, expected, stamp)


def applied(machine: RangeMachine, *commands: Decide, first: int = 1) -> object:
    for index, command in enumerate(commands, start=first):
        machine.apply(index, 1, encoded(command))
    return machine.held("k")[1]


@pytest.mark.parametrize(
    ("commands", "mixed"),
    [
        ((put(1, AHEAD), swap(1, 2, BEHIND)), 1),
        ((swap(None, 1, AHEAD), put(2, BEHIND)), 1),
        # A ballot is larger than the one before it: among themselves compare-and-sets are right.
        ((swap(None, 1, AHEAD), swap(1, 2, BEHIND)), 2),
        ((put(1, BEHIND), swap(1, 2, AHEAD)), 2),
    ],
)
def test_stamps_decide_nothing_but_in_the_mistake(commands: tuple[Decide, ...], mixed: int) -> None:
    assert applied(RangeMachine(), *commands) == 2
    assert applied(RangeMachine(stamped=True), *commands) == mixed


@pytest.mark.parametrize("stamped", [False, True])
def test_a_snapshot_says_all_that_the_log_said(stamped: bool) -> None:
    whole, taught = RangeMachine(stamped=stamped), RangeMachine(stamped=stamped)
    applied(whole, put(1, AHEAD))
    taught.restore(Snapshot(1, 1, whole.snapshot()))
    later = swap(1, 2, BEHIND)
    assert applied(taught, later, first=2) == applied(whole, later, first=2)
