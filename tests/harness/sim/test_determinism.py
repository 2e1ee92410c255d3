"""The same seed is the same run: in one process, in another, under another hash seed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.clusters.sim import SimCluster
from harness.sim.trace import first_difference
from tests.harness.sim.toy import ask, connect, run, started


async def stormy(cluster: SimCluster) -> tuple[str, list[Any]]:
    """A bit of everything: crossing clients, kills, pauses, cuts, power, skew, garbage, tasks in sets."""
    rng = random.Random()

    async def stream(node: str) -> None:
        while True:
            try:
                _, writer = await connect(node)
                while not writer.is_closing():
                    writer.write(b"stream\n")
                    await asyncio.sleep(random.expovariate(100))
            except OSError:
                await asyncio.sleep(0.05)

    async def client(name: str) -> int:
        done = 0
        streams = [asyncio.create_task(stream(node)) for node in ("b1", "b2", "b3")]
        pending: set[asyncio.Task[str]] = set()
        for i in range(60):
            node = random.choice(("b1", "b2", "b3"))
            pending.add(asyncio.create_task(ask(f"{name} {i} {uuid.uuid4()}", node)))
            await asyncio.sleep(random.expovariate(50))
            ready, pending = await asyncio.wait(pending, timeout=0.01)
            for task in ready:
                done += task.exception() is None
            cycle: list[Any] = [i]
            cycle.append(cycle)
        for streaming in streams:
            streaming.cancel()
        return done

    await started(cluster)
    clients = [cluster.client_host(f"p{i}").spawn(client(f"p{i}")) for i in range(2)]
    for _ in range(12):
        node, other = rng.sample(("b1", "b2", "b3"), 2)
        how: Any = rng.choice(("drop", "reject", "hold"))
        match rng.randrange(5):
            case 0:
                await cluster.kill(node)
            case 1:
                await cluster.pause(node)
            case 2:
                await cluster.power_fail(node, torn=True)
            case 3:
                await cluster.skew(node, offset_ms=rng.uniform(-500, 500), rate=1.1)
            case _:
                await cluster.cut(f"p{rng.randrange(2)}", node, how=how)
        await asyncio.sleep(rng.random() / 5)
        await cluster.resume(node)
        if not cluster.running(node):
            await cluster.restart(node)
        for host in ("p0", "p1"):
            await cluster.heal(host, node)
        await cluster.skew(other, offset_ms=0)
    results = await asyncio.gather(*clients, return_exceptions=True)
    return cluster.trace_digest(), [repr(results), cluster.now_ns(), len(cluster.events)]


def test_two_runs_in_one_process_are_equal() -> None:
    first = run(stormy, nodes=3, seed=11)
    clutter = [uuid.uuid4() for _ in range(10_000)]
    assert run(stormy, nodes=3, seed=11) == first
    assert run(stormy, nodes=3, seed=12) != first
    del clutter


def test_the_storm_is_one() -> None:
    async def scenario(cluster: SimCluster) -> dict[str, int]:
        await stormy(cluster)
        return Counter(e.kind for e in cluster.events)

    kinds = Counter(
        kind for seed in range(10) for kind in run(scenario, nodes=3, seed=seed, sim_gc_callbacks=500)
    )
    assert {"line", "late-delivery"} <= kinds.keys()


@pytest.mark.parametrize("seed", [3, 4])
def test_another_process_under_another_hash_seed_is_the_same_run(seed: int) -> None:
    program = (
        "from tests.harness.sim.toy import run\n"
        "from tests.harness.sim.test_determinism import stormy\n"
        f"print(run(stormy, nodes=3, seed={seed}))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "12345")
    }
    assert outputs == {f"{run(stormy, nodes=3, seed=seed)}\n"}


def test_the_trace_tells_messages_with_their_cause(tmp_path: Path) -> None:
    async def scenario(cluster: SimCluster) -> str:
        await started(cluster)
        await cluster.client_host("p0").spawn(ask("hello"))
        await cluster.kill("b2")
        return cluster.trace_digest()

    digest = run(scenario, folder=tmp_path, sim_trace=True)
    lines = {line["n"]: line for line in map(json.loads, (tmp_path / "trace.jsonl").read_text().splitlines())}
    assert list(lines) == list(range(1, len(lines) + 1))
    deliveries = [line for line in lines.values() if line["kind"] == "deliver"]
    for delivery in deliveries:
        send = lines[delivery["send"]]
        assert send["kind"] == "send" and send["t"] < delivery["t"]
        assert [send[k] for k in ("source", "target", "bytes", "connection")] == [
            delivery[k] for k in ("source", "target", "bytes", "connection")
        ]
    answer = next(line for line in lines.values() if line["kind"] == "send" and line["source"] == "b1")
    question = lines[answer["cause"]]
    assert question["kind"] == "deliver" and question["target"] == "b1" and question["bytes"] == 6
    assert [line["node"] for line in lines.values() if line["kind"] == "kill"] == ["b2"]
    assert "latency of a packet" in {line.get("decides") for line in lines.values()}
    # Being traced changes nothing.
    assert run(scenario) == digest


def test_traces_are_compared_to_the_first_line_that_differs(tmp_path: Path) -> None:
    def trace(name: str, *words: str) -> Path:
        async def scenario(cluster: SimCluster) -> None:
            await started(cluster)
            for word in words:
                await cluster.client_host("p0").spawn(ask(word))

        (tmp_path / name).mkdir()
        run(scenario, folder=tmp_path / name, sim_trace=True)
        return tmp_path / name / "trace.jsonl"

    one, same, other = trace("a", "one", "two"), trace("b", "one", "two"), trace("c", "one", "twoo")
    shorter = trace("d", "one")
    assert first_difference(one, same) is None
    difference = first_difference(one, other)
    assert difference is not None
    assert difference.left is not None and difference.right is not None
    assert (difference.left["kind"], difference.left["bytes"], difference.right["bytes"]) == ("send", 4, 5)
    assert "against" in str(difference)
    ended = first_difference(shorter, one)
    assert ended is not None and ended.left is None and "(the trace ends)" in str(ended)
