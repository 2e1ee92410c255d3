"""Virtual time, order of callbacks, ties, third-party asyncio programs."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

from harness.clusters.sim import SimCluster
from harness.node import NodeEnvironment
from harness.sim.errors import EscapesSimulationError, SimulationDeadlockError
from harness.sim.loop import CALLBACK_COST_NS, TIMER_GRID_NS
from harness.sim.refused import REFUSED_LOOP_CALLS
from tests.harness.sim.toy import ask, run, started


async def idle(env: NodeEnvironment) -> None:
    await asyncio.get_running_loop().create_future()


def test_an_hour_of_virtual_time_takes_none() -> None:
    async def scenario(cluster: SimCluster) -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(scenario, idle) == pytest.approx(3600, abs=0.001)
    assert time.monotonic() - began < 5


def test_callbacks_of_one_host_run_first_come_first_served() -> None:
    async def scenario(cluster: SimCluster) -> list[int]:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        for i in range(50):
            loop.call_soon(order.append, i)
        loop.call_later(0.01, order.append, 101)
        loop.call_later(0.005, order.append, 100)
        for i in range(102, 110):
            loop.call_later(0.02, order.append, i)
        await asyncio.sleep(0.05)
        return order

    for seed in range(5):
        assert run(scenario, idle, seed=seed) == [*range(50), *range(100, 110)]


def test_timers_are_never_early_and_late_by_less_than_the_grid() -> None:
    async def scenario(cluster: SimCluster) -> None:
        loop = asyncio.get_running_loop()
        for delay in (0.00001, 0.00033, 0.0017, 0.1):
            due = loop.time() + delay
            await asyncio.sleep(delay)
            assert due - 1e-9 <= loop.time() <= due + (TIMER_GRID_NS + 20 * CALLBACK_COST_NS) / 1e9

    run(scenario, idle)


def _order_at_one_instant(seed: int) -> tuple[str, ...]:
    order: list[str] = []

    async def program(env: NodeEnvironment) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.0 - loop.time())
        order.append(env.name)
        await asyncio.sleep(0)
        order.append(env.name)
        await loop.create_future()

    async def scenario(cluster: SimCluster) -> None:
        await cluster.start()
        await asyncio.sleep(2)

    run(scenario, program, nodes=3, seed=seed)
    return tuple(order)


def test_hosts_that_share_an_instant_go_in_an_order_drawn_by_the_seed() -> None:
    orders = [_order_at_one_instant(seed) for seed in range(40)]
    assert orders == [_order_at_one_instant(seed) for seed in range(40)]
    assert len({order[:3] for order in orders}) == 6
    for order in orders:
        assert order[:3] == order[3:]


def test_a_cancelled_timer_does_not_fire_and_is_forgotten() -> None:
    async def scenario(cluster: SimCluster) -> int:
        loop = asyncio.get_running_loop()
        fired: list[int] = []
        for _ in range(3):
            handles = [loop.call_later(100, fired.append, i) for i in range(1000)]
            for handle in handles[1:]:
                handle.cancel()
            assert handles[1].cancelled()
            await asyncio.sleep(0.001)
        left = len(loop._heap)  # type: ignore[attr-defined]
        assert left < 2000
        await asyncio.sleep(200)
        return len(fired)

    assert run(scenario, idle) == 3


def test_a_spinning_program_cannot_stop_the_clock() -> None:
    async def scenario(cluster: SimCluster) -> int:
        loop = asyncio.get_running_loop()
        spins, end = 0, loop.time() + 0.01
        while loop.time() < end:
            spins += 1
            await asyncio.sleep(0)
        return spins

    assert 1_000 < run(scenario, idle) <= 10_000


def test_nothing_left_to_happen_is_an_error_that_says_so() -> None:
    async def scenario(cluster: SimCluster) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationDeadlockError, match="nothing is left to happen"):
        run(scenario, idle)


def test_the_scenario_s_exception_comes_out() -> None:
    async def scenario(cluster: SimCluster) -> None:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        run(scenario, idle)


def test_sets_of_tasks_and_futures_iterate_in_a_defined_order() -> None:
    async def scenario(cluster: SimCluster) -> tuple[list[str], list[int]]:
        loop = asyncio.get_running_loop()

        async def nap(i: int) -> int:
            await asyncio.sleep(0.01)
            return i

        tasks = {loop.create_task(nap(i)) for i in range(100)}
        done, _ = await asyncio.wait(tasks)
        futures = {loop.create_future() for _ in range(100)}
        return [t.get_name() for t in tasks], [t.result() for t in done] + [hash(f) for f in futures]

    first = run(scenario, idle)
    clutter = [object() for _ in range(1000)]
    assert run(scenario, idle) == first
    del clutter


def test_asyncio_s_own_tools_work() -> None:
    async def scenario(cluster: SimCluster) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 0.5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.sleep(10)
        async with asyncio.TaskGroup() as group:
            one = group.create_task(asyncio.sleep(0.1, "one"))
            two = group.create_task(asyncio.sleep(0.2, "two"))
        assert (one.result(), two.result()) == ("one", "two")
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                group.create_task(_raise(ValueError("x")))
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        loop.call_later(0.1, queue.put_nowait, 1)
        assert await queue.get() == 1
        lock, condition = asyncio.Lock(), asyncio.Condition()
        async with lock, condition:
            condition.notify_all()
        assert await asyncio.gather(asyncio.sleep(0.1, 1), _raise(ValueError()), return_exceptions=True)
        assert await loop.run_in_executor(None, lambda: 7) == 7
        assert await asyncio.to_thread(lambda: 8) == 8
        with pytest.raises(ValueError):
            await loop.run_in_executor(None, int, "x")
        assert asyncio.current_task() is not None

        async def numbers() -> Any:
            for i in range(3):
                yield i
                await asyncio.sleep(0.01)

        assert [n async for n in numbers()] == [0, 1, 2]

    run(scenario, idle)


async def _raise(error: Exception) -> None:
    await asyncio.sleep(0.05)
    raise error


@pytest.mark.parametrize("name", sorted(REFUSED_LOOP_CALLS))
def test_what_reaches_past_the_simulation_is_refused_by_name(name: str) -> None:
    async def scenario(cluster: SimCluster) -> None:
        with pytest.raises(EscapesSimulationError, match=f"loop.{name}"):
            await getattr(asyncio.get_running_loop(), name)()

    run(scenario, idle)


def test_an_exception_of_a_program_s_callback_is_an_event_of_its_host() -> None:
    async def program(env: NodeEnvironment) -> None:
        asyncio.get_running_loop().call_soon(int, "x")
        await asyncio.sleep(1)

    async def scenario(cluster: SimCluster) -> list[Any]:
        await started(cluster)
        return [(e.node, e.kind, e.fields["error"][:10]) for e in cluster.events]

    assert run(scenario, program, nodes=1) == [("b1", "unhandled-exception", "ValueError")]


def test_a_mistake_of_the_harness_ends_the_run() -> None:
    async def scenario(cluster: SimCluster) -> None:
        cluster.on_event(lambda event: [][1])
        await started(cluster)
        await cluster.client_host("p0").spawn(ask("hello"))

    with pytest.raises(IndexError):
        run(scenario)


def test_what_the_harness_left_running_may_clean_up() -> None:
    told: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.5)
            told.append("cleaned up")

    async def scenario(cluster: SimCluster) -> None:
        told.append("began")
        scenario.task = asyncio.create_task(background())  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)

    run(scenario, idle)
    assert told == ["began", "cleaned up"]


def test_garbage_is_collected_at_fixed_steps_only() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

    async def scenario(cluster: SimCluster) -> list[int]:
        loop = asyncio.get_running_loop()
        collected: list[int] = []
        for _ in range(300):
            cycle = Cycle()
            weakref.finalize(cycle, lambda: collected.append(loop.callbacks))  # type: ignore[attr-defined]
            del cycle
            [[] for _ in range(1000)]
            await asyncio.sleep(0)
        assert not gc.isenabled()
        return collected

    first = run(scenario, idle, sim_gc_callbacks=100)
    assert len(first) >= 200
    assert {step % 100 for step in first} == {0}
    assert run(scenario, idle, sim_gc_callbacks=100) == first
    assert gc.isenabled()
