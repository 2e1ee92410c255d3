"""Containers: the same runs, faults that bite and are undone, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.clusters.docker.backend import DockerBackend
from harness.clusters.docker.cluster import DockerCluster
from harness.clusters.docker.leftovers import found
from harness.errors import UserError
from harness.execute import Outcome, execute
from harness.history import read_history
from harness.node import Address
from harness.plan import resolve
from harness.results import Verdict
from harness.run_id import in_use
from harness.schedule import Fault, Schedule
from harness.spec import Spec

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("toy", "engine")]

ASKED: dict[str, Any] = {
    "system": "toy-bag",
    "workload": "bag",
    "backend": "docker",
    "time_limit_ms": 2_500,
}
CHAOS = [sys.executable, "-c", "from harness.cli import main; main()"]


def run(root: Path, **asked: Any) -> Outcome:
    return execute(Spec(**{**ASKED, **asked}), root=root)


def with_cluster(scenario: Callable[[DockerCluster], Awaitable[None]], folder: Path, **settings: Any) -> None:
    plan = resolve(Spec(**ASKED, settings=settings))

    async def started(cluster: Any) -> None:
        assert isinstance(cluster, DockerCluster)
        await cluster.start()
        await scenario(cluster)
        await cluster.stop()

    DockerBackend().run(
        started,
        system=plan.system,
        topology=plan.topology,
        config=plan.spec.config,
        bugs=frozenset(),
        seed=0,
        folder=folder,
    )


async def asked(address: Address, request: bytes, within_s: float) -> bytes:
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(request)
            return await reader.readline()
        finally:
            writer.close()


async def seconds(work: Awaitable[bytes]) -> float:
    before = time.monotonic()
    assert await work
    return time.monotonic() - before


def of_this_process(engine: Any) -> list[str]:
    return [left.what for left in found(engine) if left.run.split(".")[1] == str(os.getpid())]


def test_killed_nodes_come_back_with_their_disks(tmp_path: Path, engine: Any) -> None:
    outcome = run(tmp_path, nemesis="toy-kill")
    assert outcome.result.verdict is Verdict.VALID, outcome.result.reason
    assert outcome.result.faults["bitten"] == 2
    assert outcome.result.situations["node-served"] == 5
    assert outcome.cleanup == ()
    assert of_this_process(engine) == []


def test_what_was_kept_in_memory_only_is_lost(tmp_path: Path) -> None:
    assert run(tmp_path, nemesis="toy-kill", bugs=("amnesia",)).result.verdict is Verdict.INVALID


def test_a_paused_node_answers_late(tmp_path: Path) -> None:
    pause = Fault(at_ms=500, kind="pause", selector="n1", duration_ms=800)
    outcome = run(tmp_path, schedule=Schedule((pause,)))
    assert outcome.result.verdict is Verdict.VALID, outcome.result.reason
    assert outcome.folder is not None
    history = read_history(outcome.folder / "history.jsonl")
    told = next(op for op in history.faults if op.f == "pause" and op.type == "ok")
    assert told.value["verified"] is True
    assert told.value["detail"] == "n1 is paused"
    assert max(op.end - op.start for op in history.operations if op.end is not None) > 600e6


def test_every_fault_bites_and_is_undone(tmp_path: Path) -> None:
    async def scenario(cluster: DockerCluster) -> None:
        nodes = cluster._nodes

        async def reaches(source: str, target: str) -> bool:
            told = await nodes[source].ask(
                "listens", host=nodes[target].address, port=nodes[target].info.port
            )
            assert isinstance(told, bool)
            return told

        async def answer(
            node: str, request: bytes, *, client: str = "client-0", within_s: float = 5
        ) -> bytes:
            return await cluster.client_host(client).spawn(
                asked(cluster.address(node, client=client), request, within_s)
            )

        for how in ("drop", "reject", "hold"):
            assert await reaches("n1", "n2")
            assert (await cluster.cut("n1", "n2", how=how)).verified is True
            assert not await reaches("n1", "n2")
            assert await reaches("n1", "n3")
            assert (await cluster.heal("n1", "n2")).verified is True
        assert await reaches("n1", "n2")

        assert await answer("n2", b"add 7\n") == b"ok\n"
        assert (await cluster.kill("n2")).verified is True
        assert not cluster.running("n2")
        await cluster.cut("n1", "n2", how="drop")
        assert (await cluster.restart("n2")).verified is True
        assert not await reaches("n1", "n2"), "a restarted node is still cut off"
        await cluster.heal("n1", "n2")
        assert await answer("n2", b"all\n") == b"7\n"

        assert (await cluster.fill_disk("n2", full=True)).verified is True
        assert await answer("n2", b"add 8\n") in (b"", b"ok\n"), "the last page may have room"
        assert (await cluster.fill_disk("n2", full=False)).verified is True

        assert (await cluster.pause("n2")).verified is True
        assert (await cluster.kill("n2")).verified is True, "of a paused one, too"
        assert (await cluster.wipe("n2")).verified is True
        assert (await cluster.restart("n2")).verified is True
        assert await answer("n2", b"all\n") == b"\n"

        assert (await cluster.cut("client-0", "n2", how="drop")).verified is True
        with pytest.raises(TimeoutError):
            await answer("n2", b"all\n", within_s=0.5)
        assert await answer("n2", b"all\n", client="client-1") == b"\n"
        assert await answer("n3", b"all\n") == b"\n"
        assert (await cluster.heal("client-0", "n2")).verified is True
        assert (await cluster.degrade("n2", "client-0", latency_ms=300, jitter_ms=0)).verified is True
        assert await seconds(answer("n2", b"all\n")) >= 0.3
        await cluster.degrade("n2", "client-0", latency_ms=0, jitter_ms=0)

        assert (await cluster.slow_disk("n2", latency_ms=300, jitter_ms=0)).verified is True
        assert await seconds(answer("n2", b"add 9\n")) >= 0.3
        await cluster.slow_disk("n2", latency_ms=0, jitter_ms=0)
        assert (await cluster.power_fail("n2")).verified is True
        assert (await cluster.restart("n2")).verified is True
        assert await answer("n2", b"all\n") == b"9\n"

        assert (await cluster.limit_cpu("n3", cores=0.05)).verified is True
        assert (await cluster.limit_cpu("n3", cores=None)).verified is True
        assert (await cluster.limit_memory("n3", more_mb=1)).verified is True
        assert (await cluster.limit_memory("n3", more_mb=None)).verified is True

    with_cluster(scenario, tmp_path, **{"docker.disk.mb": 16})


def test_what_nodes_say_to_each_other_is_slow_in_one_direction(tmp_path: Path, engine: Any) -> None:
    script = (
        "import socket, sys, time; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5);"
        "t = time.monotonic(); s.sendall(b'all\\n'); s.recv(100); print(time.monotonic() - t)"
    )

    async def scenario(cluster: DockerCluster) -> None:
        nodes = cluster._nodes

        def question(source: str, target: str) -> float:
            """As a program of the node asks it."""
            [container] = [
                c
                for c in engine.containers.list(
                    filters={"label": [f"chaos.run={cluster.run}", f"chaos.node={source}"]}
                )
                if not c.name.endswith("-sandbox")
            ]
            place = [nodes[target].address, str(nodes[target].info.port)]
            code, told = container.exec_run(["python3", "-c", script, *place])
            assert code == 0, told
            return float(told)

        assert question("n1", "n2") < 0.2
        assert (await cluster.degrade("n1", "n2", latency_ms=300, jitter_ms=0)).verified is True
        assert 0.3 <= await asyncio.to_thread(question, "n1", "n2") < 0.6
        assert 0.3 <= await asyncio.to_thread(question, "n2", "n1") < 0.6
        assert await asyncio.to_thread(question, "n1", "n3") < 0.2
        assert (await cluster.degrade("n1", "n2", latency_ms=0, jitter_ms=0)).verified is True
        assert await asyncio.to_thread(question, "n1", "n2") < 0.2

    with_cluster(scenario, tmp_path)


def test_a_node_dies_at_the_step_it_was_armed_at(tmp_path: Path) -> None:
    crash = Fault(at_ms=500, kind="crash-at", selector="n1", duration_ms=1_200, params={"step": "bag.add"})
    outcome = run(tmp_path, schedule=Schedule((crash,)))
    assert outcome.result.verdict is Verdict.VALID, outcome.result.reason
    assert outcome.folder is not None
    told = [op for op in read_history(outcome.folder / "history.jsonl").faults if op.type == "ok"]
    assert [op.f for op in told] == ["crash-at", "kill", "restart"]


def test_nothing_is_published_beyond_this_machine(tmp_path: Path, engine: Any) -> None:
    async def scenario(cluster: DockerCluster) -> None:
        containers = engine.containers.list(filters={"label": f"chaos.run={cluster.run}"})
        assert len(containers) == 6
        for container in containers:
            for bound in container.attrs["NetworkSettings"]["Ports"].values():
                assert [place["HostIp"] for place in bound] == ["127.0.0.1"]
            powers = container.attrs["HostConfig"]["CapAdd"]
            assert ("NET_ADMIN" in (powers or ())) is container.name.endswith("-sandbox")

    with_cluster(scenario, tmp_path)


def test_a_node_that_never_starts_shows_the_end_of_its_log(tmp_path: Path, engine: Any) -> None:
    with pytest.raises(UserError, match=r"(?s)node n1 did not start \(exit code 4\).*no such disk"):
        run(tmp_path, system="toy-mute")
    assert of_this_process(engine) == []


def test_an_image_that_cannot_be_built_is_told_with_the_end_of_its_log(tmp_path: Path, engine: Any) -> None:
    with pytest.raises(UserError, match="base image nobody/nothing:never is not here and cannot be pulled"):
        run(tmp_path, settings={"docker.base": "nobody/nothing:never"})
    engine.api.import_image_from_data(b"\0" * 1024, repository="chaos-test-empty", tag="latest")
    try:
        with pytest.raises(UserError, match="the base image must have python3"):
            run(tmp_path, settings={"docker.base": "chaos-test-empty:latest"})
    finally:
        engine.images.remove("chaos-test-empty:latest")


def test_a_missing_engine_is_one_line(tmp_path: Path) -> None:
    asked = ["test", "--on", "docker", "--out", str(tmp_path)]
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    told = subprocess.run([*CHAOS, *asked], env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.startswith("chaos: no Docker engine answers: start it")
    assert len(told.stderr.splitlines()) == 1


def test_what_a_killed_harness_leaves_is_removed_and_a_run_that_goes_on_is_not(
    tmp_path: Path, engine: Any
) -> None:
    asked = ["test", "--system", "toy-bag", "--workload", "bag", "--on", "docker", "--out", str(tmp_path)]
    pause = tmp_path / "pause.json"
    pause.write_text(
        '{"version": 1, "faults": [{"at_ms": 0, "kind": "pause", "selector": "n2"},'
        ' {"at_ms": 0, "kind": "partition", "selector": "n1"}]}'
    )
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    doomed = subprocess.Popen([*CHAOS, *asked, "--time-limit", "60", "--schedule", str(pause)], **quiet)
    wait_for(lambda: any(c.status == "paused" for c in of(engine, doomed.pid)), doomed)
    doomed.kill()
    doomed.wait()
    going_on = subprocess.Popen([*CHAOS, *asked, "--time-limit", "4"], **quiet)
    wait_for(lambda: len(of(engine, going_on.pid)) == 6, going_on)
    told = subprocess.run([*CHAOS, "doctor", "--clean"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert of(engine, doomed.pid) == []
    assert [left.what for left in found(engine) if not in_use(left.run)] == []
    assert going_on.wait(timeout=60) == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_undo_all(tmp_path: Path, engine: Any, how: signal.Signals) -> None:
    asked = ["test", "--system", "toy-bag", "--workload", "bag", "--on", "docker", "--out", str(tmp_path)]
    running = subprocess.Popen(
        [*CHAOS, *asked, "--time-limit", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_for(lambda: len(of(engine, running.pid)) == 6, running)
    time.sleep(3)
    running.send_signal(how)
    assert running.wait(timeout=60) == 130
    assert of(engine, running.pid) == []


def of(engine: Any, pid: int) -> list[Any]:
    """The containers of that harness, running or not."""
    containers = engine.containers.list(all=True, filters={"label": "chaos.run"}, ignore_removed=True)
    return [c for c in containers if c.labels["chaos.run"].split(".")[1] == str(pid)]


def wait_for(look: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if look():
            return
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        time.sleep(0.2)
    raise AssertionError("waited in vain")


def test_the_registry_knows_it() -> None:
    assert "docker" in registry.names("backends")
