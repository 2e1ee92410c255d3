"""Wall clocks that lie: a jump, a drift, a strobe between two times, offsets that differ from node to node, or a clock
that runs ahead and is stepped back. Timers are not touched, as on a real host."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Fault, Schedule
from harness.topology import Topology
from nemeses.aim import Aim
from nemeses.rhythm import Range, draw, episodes

OFFSETS_MS = (50, 500, 5_000, 60_000, 3_600_000)


class ClockSkew:
    description = "wall clocks jump, drift or strobe, on one node or on all"
    needs = frozenset({"clock"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_one(aim)], quiet_ms=Range(1_000, 4_000))


class ClockScatter:
    description = "every node's wall clock is off by an amount of its own, or runs ahead and is stepped back"
    needs = frozenset({"clock"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        aim = Aim(topology, rng, config)
        return episodes(time_limit_ms, rng, lambda: [_scattered(aim)], quiet_ms=Range(500, 2_000))


def _scattered(aim: Aim) -> Fault:
    """Clocks that all lie by the same amount agree with each other: here they do not."""
    params: dict[str, Any]
    match draw(aim.rng, ((3, "scatter"), (2, "sawtooth"))):
        case "scatter":
            selector = draw(aim.rng, ((3, aim.data_nodes), (1, "all")))
            params = {"mode": "scatter", "offset_ms": aim.rng.choice(OFFSETS_MS)}
        case _:
            selector = draw(aim.rng, ((2, aim.any_data_node), (1, aim.data_nodes)))
            period_ms = aim.rng.choice((100, 1_000, 3_000))
            params = {"mode": "sawtooth", "rate": aim.rng.randint(1, 50) / 10, "period_ms": period_ms}
    duration_ms = aim.rng.randint(4_000, 12_000)
    return Fault(at_ms=0, kind="clock", selector=selector, duration_ms=duration_ms, params=params)


def _one(aim: Aim) -> Fault:
    target = draw(
        aim.rng,
        (
            (3, aim.any_data_node),
            (3, aim.leader()),
            (2, aim.coordinator()),
            (1 if aim.controller else 0, "controller"),
            (1, "all"),
        ),
    )
    return Fault(
        at_ms=0,
        kind="clock",
        selector=target,
        duration_ms=aim.rng.randint(3_000, 10_000),
        params=_distortion(aim.rng),
    )


def _distortion(rng: random.Random) -> dict[str, Any]:
    sign = rng.choice((1, -1))
    offset_ms = sign * rng.choice(OFFSETS_MS)
    match draw(rng, ((3, "jump"), (2, "drift"), (2, "strobe"))):
        case "jump":
            return {"mode": "jump", "offset_ms": offset_ms}
        case "strobe":
            return {"mode": "strobe", "offset_ms": offset_ms, "period_ms": rng.choice((10, 100, 1_000))}
        case _:
            # Up to ten per cent fast or slow: far more than any crystal, and never backwards.
            return {"mode": "drift", "offset_ms": 0, "rate": sign * rng.randint(1, 100) / 1_000}
