"""Kill, pause, restart, crash at a step: what of a process runs, and what does not."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from harness.clusters.sim import SimCluster
from harness.node import NodeEnvironment
from harness.sim.errors import ProcessKilled
from tests.harness.sim.toy import ask, connect, lines, run, started


def test_request_and_answer() -> None:
    async def scenario(cluster: SimCluster) -> list[str]:
        await started(cluster)
        host = cluster.client_host("p0")
        return [await host.spawn(ask("hello")), await host.spawn(ask("again", "b2"))]

    assert run(scenario) == ["hello", "again"]


def test_nothing_of_a_killed_node_runs_again_not_even_finally() -> None:
    ran: list[str] = []

    async def program(env: NodeEnvironment) -> None:
        async def worker() -> None:
            try:
                while True:
                    await asyncio.sleep(0.01)
                    env.emit("tick")
            except BaseException as error:
                env.emit("caught", error=repr(error))
                ran.append("except")
            finally:
                ran.append("finally")
                env.disk.append("log", b"touched")

        env.disk.append("log", b"alive")
        await asyncio.gather(worker(), worker())

    async def scenario(cluster: SimCluster) -> tuple[list[str], int]:
        await started(cluster)
        evidence = await cluster.kill("b1")
        assert evidence.verified and not cluster.running("b1")
        count = len(cluster.events)
        gc.collect()
        await asyncio.sleep(5)
        assert not ran
        assert len(cluster.events) == count
        assert (await cluster.kill("b1")).verified is False
        return [e.kind for e in cluster.events], count

    kinds, _ = run(scenario, program, nodes=1)
    assert set(kinds) == {"tick"}


def test_a_killed_client_process_tells_its_caller_and_a_later_spawn_is_a_new_process() -> None:
    trail: list[str] = []

    async def client(name: str) -> str:
        try:
            await asyncio.sleep(0.5)
            trail.append(f"{name} ended")
            return name
        finally:
            trail.append(f"{name} finally")

    async def scenario(cluster: SimCluster) -> None:
        host = cluster.client_host("p0")
        first = host.spawn(client("first"))
        await asyncio.sleep(0.1)
        await host.kill()
        with pytest.raises(ConnectionAbortedError, match="p0"):
            await first
        assert await host.spawn(client("second")) == "second"
        assert trail == ["second ended", "second finally"]

    run(scenario)


def test_a_client_s_answer_error_and_cancellation_reach_the_other_side() -> None:
    async def fails() -> None:
        raise LookupError("told")

    async def forever(trail: list[str]) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            trail.append("cancelled")
            raise

    async def scenario(cluster: SimCluster) -> list[str]:
        host = cluster.client_host("p0")
        with pytest.raises(LookupError, match="told"):
            await host.spawn(fails())
        trail: list[str] = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(host.spawn(forever(trail)), 1)
        await asyncio.sleep(0.1)
        return trail

    assert run(scenario) == ["cancelled"]


def test_tasks_that_a_process_spawned_belong_to_it() -> None:
    ticks: list[float] = []

    async def child() -> None:
        while True:
            await asyncio.sleep(0.1)
            ticks.append(asyncio.get_running_loop().time())

    async def parent() -> None:
        for _ in range(3):
            asyncio.get_running_loop().call_later(0.01, lambda: asyncio.ensure_future(child()))
        await asyncio.sleep(0.55)

    async def scenario(cluster: SimCluster) -> None:
        host = cluster.client_host("p0")
        await host.spawn(parent())
        assert len(ticks) == 15
        await host.kill()
        await asyncio.sleep(10)
        assert len(ticks) == 15

    run(scenario)


def test_a_paused_node_does_nothing_and_then_everything_in_order() -> None:
    async def program(env: NodeEnvironment) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                env.emit("line", text=line.decode().strip())

        server = await asyncio.start_server(serve, env.listen.host, env.listen.port)
        for i in range(20):
            env.emit("tick", i=i)
            await asyncio.sleep(0.1)
        await server.serve_forever()

    async def talk() -> None:
        _, writer = await connect()
        for i in range(5):
            writer.write(f"{i}\n".encode())
            await asyncio.sleep(0.1)

    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        assert (await cluster.pause("b1")).verified
        assert not cluster.running("b1")
        before = len(cluster.events)
        # The kernel of a paused process still accepts connections and takes bytes.
        await cluster.client_host("p0").spawn(talk())
        await asyncio.sleep(2)
        assert len(cluster.events) == before
        resumed = cluster.now_ns()
        assert (await cluster.resume("b1")).verified
        await asyncio.sleep(3)
        assert lines(cluster, "b1") == ["0", "1", "2", "3", "4"]
        late = [e.time for e in cluster.events[before:] if e.kind == "line"]
        assert all(0 <= t - resumed < 1_000_000 for t in late)
        assert [e.fields["i"] for e in cluster.events if e.kind == "tick"] == list(range(20))

    run(scenario, program, nodes=1)


def test_kill_while_paused_and_resume_of_what_is_not_paused() -> None:
    async def scenario(cluster: SimCluster) -> None:
        await started(cluster)
        assert (await cluster.resume("b1")).verified is False
        await cluster.pause("b1")
        assert (await cluster.pause("b1")).verified is False
        assert (await cluster.kill("b1")).verified
        assert (await cluster.resume("b1")).verified is False
        assert (await cluster.restart("b1")).verified
        await asyncio.sleep(0.1)
        assert await cluster.client_host("p0").spawn(ask("up")) == "up"

    run(scenario)


def test_a_restart_is_a_new_life_with_the_same_disk() -> None:
    async def program(env: NodeEnvironment) -> None:
        env.disk.append("lives", b"x")
        env.emit("born", incarnation=env.incarnation, lives=env.disk.size("lives"), draw=env.random.random())
        await asyncio.get_running_loop().create_future()

    async def scenario(cluster: SimCluster) -> list[Any]:
        await started(cluster)
        await cluster.kill("b1")
        await cluster.restart("b1")
        await asyncio.sleep(0.1)
        await cluster.restart("b1")
        await asyncio.sleep(0.1)
        return [e.fields for e in cluster.events]

    births = run(scenario, program, nodes=1)
    assert [(b["incarnation"], b["lives"]) for b in births] == [(0, 1), (1, 2), (2, 3)]
    assert len({b["draw"] for b in births}) == 3


def test_a_program_that_raises_is_over() -> None:
    async def program(env: NodeEnvironment) -> None:
        async def survivor() -> None:
            while True:
                await asyncio.sleep(0.1)
                env.emit("survived")

        asyncio.ensure_future(survivor())
        await asyncio.sleep(0.25)
        raise RuntimeError("disk on fire")

    async def scenario(cluster: SimCluster) -> list[Any]:
        await cluster.start()
        await asyncio.sleep(2)
        assert not cluster.running("b1")
        return [(e.kind, e.fields) for e in cluster.events]

    events = run(scenario, program, nodes=1)
    assert events == [
        ("survived", {}),
        ("survived", {}),
        ("exited", {"error": "RuntimeError: disk on fire"}),
    ]


def _crash_at_step(catching: bool) -> tuple[list[str], dict[str, int]]:
    trail: list[str] = []

    async def program(env: NodeEnvironment) -> None:
        _, writer = await connect("b2")
        try:
            for i in range(5):
                env.disk.append("log", b"%d" % i)
                env.step("log.appended")
                trail.append(f"{env.incarnation}/{i}")
                await asyncio.sleep(0.01)
        except BaseException:
            # All of this must come to nothing.
            if not catching:
                raise
            for touch in (
                lambda: writer.write(b"from the grave\n"),
                writer.close,
                lambda: asyncio.ensure_future(connect("b2")),
                lambda: asyncio.get_running_loop().call_soon(trail.append, "called"),
            ):
                touch()
            for forbidden in (
                lambda: env.disk.append("log", b"!"),
                lambda: env.emit("ghost"),
                lambda: env.step("other"),
            ):
                with pytest.raises(ProcessKilled):
                    forbidden()
            await asyncio.sleep(0)
            trail.append("went on")

    async def both(env: NodeEnvironment) -> None:
        if env.name == "b1":
            await asyncio.sleep(0.05)
            await program(env)
            return

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                env.emit("line", text=line.decode().strip())

        await (await asyncio.start_server(serve, port=9000)).serve_forever()

    async def scenario(cluster: SimCluster) -> tuple[list[str], dict[str, int]]:
        def crash(node: str) -> None:
            disarm()
            with pytest.raises(StopIteration):
                cluster.kill(node).send(None)

        disarm = cluster.arm("b1", "log.appended", crash)
        await cluster.start()
        await asyncio.sleep(1)
        assert not cluster.running("b1")
        assert {(e.node, e.kind) for e in cluster.events} <= {("b2", "unhandled-exception")}
        world = cluster._world
        assert world.host("b1").disk.read("log") == b"0"
        await cluster.restart("b1")
        await asyncio.sleep(1)
        return list(trail), dict(cluster.steps)

    return run(scenario, both)


@pytest.mark.parametrize("catching", [False, True])
def test_a_crash_at_a_step_stops_the_callback_at_once(catching: bool) -> None:
    trail, steps = _crash_at_step(catching)
    assert trail == [f"1/{i}" for i in range(5)]
    assert steps == {"log.appended": 6}


def test_stop_lets_programs_end_and_kills_what_does_not() -> None:
    trail: list[str] = []

    async def program(env: NodeEnvironment) -> None:
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                trail.append(env.name)
                if env.name == "b1":
                    raise

    async def scenario(cluster: SimCluster) -> bool:
        await started(cluster)
        await cluster.pause("b2")
        await cluster.stop()
        return cluster.running("b1") or cluster.running("b2")

    assert run(scenario, program) is False
    assert trail == ["b1", "b2"]


def test_unknown_hosts_are_named() -> None:
    async def scenario(cluster: SimCluster) -> None:
        with pytest.raises(KeyError, match="b9"):
            await cluster.kill("b9")
        with pytest.raises(KeyError, match="b9"):
            await cluster.cut("b1", "b9", how="drop")

    run(scenario)
