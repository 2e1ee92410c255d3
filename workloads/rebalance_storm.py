"""Workload `rebalance-storm`: members of a group come and go all the time.

As workload `group`, at its worst: every few turns somebody leaves or dies, and is back at once, so that the group
is hardly ever done with one rebalance before the next begins. Every record must still be processed, no partition may
have two owners, and when the storm is over the group must come to rest. What it costs is measured: how long
partitions are without a reader (`without_a_reader`), eager against cooperative (`partition.assignment.strategy`).
"""

from __future__ import annotations

import msgspec

from harness.settings import Setting
from harness.workload import Test
from workloads.group import Group
from workloads.group_turns import Hazards


class RebalanceStorm(Group):
    description = (
        "a consumer group whose members come and go all the time: it must lose nothing, and come to rest"
    )
    settings: tuple[Setting, ...] = (
        *Group.settings,
        Setting(
            name="storm.turns",
            default=12,
            doc="Turns that a member makes on average before it leaves or dies",
            scope="workload",
            minimum=1,
            maximum=100_000,
        ),
        Setting(
            name="storm.away.ms",
            default=500,
            doc="How long it stays away at most",
            scope="workload",
            minimum=0,
            maximum=600_000,
        ),
    )
    default_concurrency = 8

    def hazards(self, test: Test) -> Hazards:
        """Most say goodbye, so that the group need not wait for their sessions to end."""
        often = 1 / float(test.config["storm.turns"])
        return msgspec.structs.replace(
            super().hazards(test),
            leave=0.95 * often,
            crash=0.05 * often,
            stall=0.0,
            away_ms=float(test.config["storm.away.ms"]),
        )
