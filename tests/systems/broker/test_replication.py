"""Replication against random schedules, and each mistake of the catalogue found by them (semantics 2.1)."""

from __future__ import annotations

import asyncio

import pytest

from systems.broker.controller.elections import fence, unfence
from tests.systems.broker.replication_model import Violation, World, run


async def _seeds(first: int, count: int, bugs: frozenset[str], *, power_loss: bool = False) -> int | None:
    """The first seed whose run breaks a promise."""
    for seed in range(first, first + count):
        try:
            run(seed, bugs, power_loss=power_loss)
        except Violation:
            return seed
    return None


@pytest.mark.parametrize("power_loss", [False, True])
def test_nothing_visible_or_acknowledged_is_ever_lost(power_loss: bool) -> None:
    async def main() -> list[World]:
        return [run(seed, power_loss=power_loss) for seed in range(150)]

    worlds = asyncio.run(main())
    assert sum(len(w.acked) for w in worlds) > 500, "the runs were too quiet to prove anything"
    events = [kind for w in worlds for node in w.nodes for kind, _ in node.env.events]
    for situation in ("truncated", "isr-shrunk", "isr-expanded", "leader-elected"):
        assert events.count(situation) > 50, situation


@pytest.mark.parametrize(
    "bug",
    [
        "truncate-to-hw",
        "hw-advances-below-min-isr",
        "read-above-hw",
        "kip279-fast-failover-divergence",
        "last-replica-standing",
        "elr-keeps-unclean-replica",
    ],
)
def test_mistakes_are_found(bug: str) -> None:
    power_loss = bug in ("hw-advances-below-min-isr", "last-replica-standing", "elr-keeps-unclean-replica")
    assert asyncio.run(_seeds(0, 600, frozenset({bug}), power_loss=power_loss)) is not None


def test_an_epoch_that_wrote_nothing_does_not_stall_a_follower() -> None:
    """Once: the leader of an epoch without records, as follower, asked for that epoch for ever."""

    async def main() -> None:
        world = World(0)
        world.commit(fence(world.image, world.rules, 1))
        for node in world.nodes[1:]:
            node.take_image(newest=True)
        assert world.nodes[1].leader is not None
        world.commit(unfence(world.image, world.rules, 1))
        world.commit(fence(world.image, world.rules, 2))
        world.settle()

    asyncio.run(main())
