"""Exceptions that nobody fetched are told of the process whose they are."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.clusters.sim import SimCluster
from harness.node import NodeEnvironment
from tests.harness.sim.toy import run, started


async def forgetful(env: NodeEnvironment) -> None:
    async def fail() -> None:
        raise ValueError("forgotten")

    tasks = [asyncio.create_task(fail())]
    cycle: list[Any] = [tasks]
    cycle.append(cycle)
    await asyncio.sleep(0.2)
    del tasks, cycle
    await asyncio.get_running_loop().create_future()


def test_a_task_s_exception_that_nobody_fetched_is_its_host_s_event() -> None:
    async def scenario(cluster: SimCluster) -> list[Any]:
        await started(cluster)
        await cluster.kill("b2")
        await asyncio.sleep(1)
        for _ in range(2000):
            await asyncio.sleep(0)
        return [(e.node, e.kind, e.fields["error"]) for e in cluster.events]

    assert run(scenario, forgetful, sim_gc_callbacks=20) == [
        ("b1", "unhandled-exception", "ValueError: forgotten")
    ]
