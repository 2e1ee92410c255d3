"""Wall clocks are skewed; time-outs never are."""

from __future__ import annotations

import asyncio
import time

import pytest

from harness.clusters.sim import SimCluster
from harness.node import NodeEnvironment
from harness.sim.clock import EPOCH_NS
from tests.harness.sim.toy import run, started


async def telling(env: NodeEnvironment) -> None:
    """Says every second what its clocks read, in milliseconds of the run."""
    while True:
        loop = asyncio.get_running_loop()
        env.emit(
            "clocks",
            wall=(env.wall_clock.time_ns() - EPOCH_NS) / 1e6,
            module=time.time() * 1e3 - EPOCH_NS / 1e6,
            loop=loop.time() * 1e3,
        )
        await asyncio.sleep(1)


def test_offset_and_drift_move_one_host_s_wall_clock_only() -> None:
    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        await cluster.skew("b1", offset_ms=-5000)
        await asyncio.sleep(2)
        evidence = await cluster.skew("b1", offset_ms=100, rate=1.5)
        assert evidence.verified
        drifting_since = cluster.now_ns() / 1e6
        await asyncio.sleep(4)
        await cluster.skew("b1", offset_ms=0, rate=1.0)
        await asyncio.sleep(2)
        for event in cluster.events:
            true_ms = event.time / 1e6
            assert event.fields["loop"] == pytest.approx(true_ms, abs=0.01)
            assert event.fields["module"] == pytest.approx(event.fields["wall"], abs=0.01)
            error = event.fields["wall"] - true_ms
            if event.node == "b2" or true_ms < 100 or true_ms > drifting_since + 4000:
                assert error == pytest.approx(0, abs=0.01)
            elif true_ms < drifting_since:
                assert error == pytest.approx(-5000, abs=0.01)
            else:
                assert error == pytest.approx(100 + 0.5 * (true_ms - drifting_since), abs=0.01)
        assert len([e for e in cluster.events if e.node == "b1"]) == 9

    run(scenario, telling)


def test_a_skewed_clock_stays_with_its_machine() -> None:
    async def scenario(cluster: SimCluster) -> float:
        await started(cluster)
        await cluster.skew("b1", offset_ms=1000)
        await cluster.restart("b1")
        await asyncio.sleep(0.1)
        event = [e for e in cluster.events if e.node == "b1"][-1]
        return float(event.fields["wall"]) - event.time / 1e6

    assert run(scenario, telling) == pytest.approx(1000, abs=0.01)
