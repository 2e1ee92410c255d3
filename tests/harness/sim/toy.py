"""A small system to run in simulation: one node program, given by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from harness.clusters.sim import SimBackend, SimCluster
from harness.node import NodeEnvironment, NodeProgram
from harness.topology import NodeInfo, Topology

T = TypeVar("T")


class Toy:
    """The part of a system that the simulator needs."""

    def __init__(self, program: NodeProgram) -> None:
        self._program = program

    def program(self) -> NodeProgram:
        return self._program


def run(
    scenario: Callable[[SimCluster], Awaitable[T]],
    program: NodeProgram | None = None,
    *,
    nodes: int = 2,
    seed: int = 0,
    folder: Path | None = None,
    backend: SimBackend | None = None,
    **config: Any,
) -> T:
    """Runs the scenario with nodes `b1`, `b2`, … and client hosts `p0`, `p1`; `sim_x_y=1` sets `sim.x.y`."""
    topology = Topology(
        tuple(NodeInfo(f"b{i}", "broker", i, 9000) for i in range(1, nodes + 1)), clients=("p0", "p1")
    )
    return (backend or SimBackend()).run(
        scenario,  # type: ignore[arg-type]
        system=Toy(program or echo),
        topology=topology,
        config={key.replace("_", "."): value for key, value in config.items()},
        bugs=frozenset(),
        seed=seed,
        folder=folder,
    )


async def echo(env: NodeEnvironment) -> None:
    """Answers each line with the same line, and stores it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            env.disk.append("log", line)
            env.emit("line", text=line.decode().strip())
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, env.listen.host, env.listen.port)
    await server.serve_forever()


async def connect(node: str = "b1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(node, 9000)


async def ask(line: str, node: str = "b1") -> str:
    """One request on a connection of its own."""
    reader, writer = await connect(node)
    writer.write(line.encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


async def started(cluster: SimCluster) -> SimCluster:
    await cluster.start()
    await asyncio.sleep(0.1)
    return cluster


def lines(cluster: SimCluster, node: str) -> list[str]:
    """What the echo program of that node has been told so far."""
    return [e.fields["text"] for e in cluster.events if e.node == node and e.kind == "line"]
