"""A small system of one leader that keeps a bag of numbers, with all that a test of the engine needs.

A third-party plug-in as anybody would write one: registered through the entry points of the
`chaos_toy` distribution beside this file. Also a node program: `python -m toy_bag --environment FILE`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import DefiniteFailure
from harness.checker import CheckContext
from harness.cluster import Cluster
from harness.errors import UserError
from harness.generators import Context, Generator, Rate, Repeat, Until
from harness.history import History
from harness.node import NodeEnvironment, NodeEvent
from harness.process import run_node
from harness.results import Anomaly, Result, Verdict
from harness.schedule import Fault, Schedule
from harness.settings import Setting
from harness.topology import NodeInfo, Topology
from harness.workload import Client, Completion, Invocation, Test, ok

LOG = "bag.log"


async def bag_node(env: NodeEnvironment) -> None:
    """`add N` is answered `ok` once it is on disk (with the bug: in memory), `all` with every number; `note N` once it
    is written, durable or not, `time` with the node's clock."""
    if env.disk.exists(LOG):
        numbers = [int(n) for n in env.disk.read(LOG).split()]
    else:
        numbers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            verb, _, argument = line.decode().strip().partition(" ")
            if verb == "add":
                env.step("bag.add")
                numbers.append(int(argument))
                if "amnesia" not in env.bugs:
                    env.disk.append(LOG, f"{argument}\n".encode())
                    await env.disk.fsync(LOG)
                writer.write(b"ok\n")
            elif verb == "note":
                env.disk.append(LOG, f"{argument}\n".encode())
                writer.write(b"ok\n")
            elif verb == "time":
                writer.write(f"{env.wall_clock.time_ns()}\n".encode())
            else:
                writer.write((" ".join(map(str, numbers)) + "\n").encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, env.listen.host, env.listen.port)
    env.emit("serving", incarnation=env.incarnation, leader=env.id == 1)
    async with server:
        await server.serve_forever()


class BagView:
    def __init__(self) -> None:
        self._leader: tuple[str, ...] = ()

    def observe(self, event: NodeEvent) -> None:
        if event.fields.get("leader"):
            self._leader = (event.node,)

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        return {"leader": self._leader, "nobody": ()}[function]

    def snapshot(self) -> dict[str, Any]:
        return {"leader": list(self._leader)}


class Bag:
    """Capability `bag` of one client host."""

    def __init__(self, cluster: Cluster, host: str) -> None:
        self._address = cluster.address("n1", client=host)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        self._streams = await asyncio.open_connection(*self._address)

    async def ask(self, request: str) -> str:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(f"{request}\n".encode())
        answer = await reader.readline()
        if not answer:
            raise ConnectionResetError("the node hung up")
        return answer.decode().strip()

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


class ToyBag:
    description = "one leader with a bag of numbers (test system)"
    capabilities = frozenset({"bag"})
    settings: tuple[Setting, ...] = (
        Setting(name="bag.size", default=3, doc="nodes that must hold it", scope="broker", minimum=1),
    )
    playground: Mapping[str, Any] = {}
    bugs: Mapping[str, str] = {"amnesia": "acknowledges what it keeps in memory only"}
    situations: Mapping[str, str] = {"node-served": "a node came up", "never": "cannot happen"}

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        return tuple(NodeInfo(f"n{i}", "store", i, 7000 + i) for i in range(1, count + 1))

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        if config["bag.size"] > len(topology.nodes):
            raise UserError(
                f"bag.size={config['bag.size']} with {len(topology.nodes)} nodes can never be satisfied"
            )

    def program(self) -> Any:
        return bag_node

    def command(self) -> Sequence[str]:
        return ("-m", "toy_bag")

    def view(self, topology: Topology) -> BagView:
        return BagView()

    async def ready(self, cluster: Cluster) -> None:
        await self._all_serving(cluster)

    async def recovered(self, cluster: Cluster) -> None:
        await self._all_serving(cluster)

    async def _all_serving(self, cluster: Cluster) -> None:
        host = cluster.client_host(cluster.topology.clients[0])
        while True:
            try:
                for node in cluster.topology.nodes:
                    address = cluster.address(node.name, client=host.name)
                    await host.spawn(self._dial(address))
                return
            except OSError:
                await asyncio.sleep(0.02)

    @staticmethod
    async def _dial(address: tuple[str, int]) -> None:
        _, writer = await asyncio.open_connection(*address)
        writer.close()

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        return Bag(cluster, host)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        return {"node-served": sum(e.kind == "serving" for e in events), "never": 0}

    def promise(self, config: Mapping[str, Any]) -> str:
        return "what was acknowledged stays in the bag"


class ToyMute(ToyBag):
    description = "a system whose nodes never start (test system)"

    def program(self) -> Any:
        return _mute

    def command(self) -> Sequence[str]:
        return ("-c", "print('no such disk'); raise SystemExit(4)")

    async def ready(self, cluster: Cluster) -> None:
        await asyncio.Event().wait()


async def _mute(env: NodeEnvironment) -> None:
    await asyncio.Event().wait()


class BagClient:
    """`bag.mischief` makes every third add of a client go wrong in one way."""

    def __init__(self, bag: Bag, mischief: str) -> None:
        self._bag = bag
        self._mischief = mischief
        self._adds = 0

    async def open(self) -> None:
        await self._bag.connect()

    async def invoke(self, op: Invocation) -> Completion:
        if op.f == "read":
            while self._mischief == "spin":
                time.monotonic()
            return ok([int(n) for n in (await self._bag.ask("all")).split()])
        self._adds += 1
        if self._adds % 3 == 0:
            await self._misbehave()
        await self._bag.ask(f"add {op.value}")
        return ok(retire=self._mischief == "retire")

    async def _misbehave(self) -> None:
        match self._mischief:
            case "refused":
                raise DefiniteFailure("no room")
            case "lost":
                raise OSError("connection lost")
            case "hang":
                await asyncio.Event().wait()
            case "bug":
                raise TypeError("a wrong program")

    async def close(self) -> None:
        await self._bag.close()


class BagWorkload:
    description = "adds to a bag, reads it (test workload)"
    requires = frozenset({"bag"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="bag.mischief",
            default="none",
            doc="what goes wrong in a client",
            scope="workload",
            choices=("none", "refused", "lost", "hang", "bug", "retire", "generator", "setup", "spin"),
        ),
    )
    checkers: tuple[str, ...] = ("bag-set",)
    default_rate = 50.0
    default_concurrency = 2

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"leader": ("bag/0",), "nobody": ("bag/0",)}

    async def setup(self, test: Test) -> None:
        if test.config["bag.mischief"] == "setup":
            raise ValueError("setup went wrong")

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        bag = test.system.client("bag", test.cluster, host, test.config)
        return BagClient(bag, str(test.config["bag.mischief"]))

    def generator(self, test: Test) -> Generator:
        count = 0

        def make(context: Context) -> Invocation:
            nonlocal count
            if test.config["bag.mischief"] == "generator" and count == 15:
                raise RuntimeError("generator went wrong")
            count += 1
            return Invocation(f="add", value=count)

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator | None:
        return Until(Repeat(lambda context: Invocation(f="read")), lambda op, done: done.type == "ok")


class BagChecker:
    description = "every acknowledged add is in the last read (test checker)"
    anomalies: Mapping[str, str] = {"lost-write": "acknowledged, and absent from the last read"}

    def check(self, history: History, context: CheckContext) -> Result:
        reads = [op for op in history.operations if op.f == "read" and op.outcome == "ok"]
        if not reads:
            return Result(checker="bag-set", verdict=Verdict.UNKNOWN, reason="0 successful reads")
        seen = set(reads[-1].value)
        lost = [
            op
            for op in history.operations
            if op.f == "add" and op.outcome == "ok" and op.invoke.value not in seen
        ]
        anomalies = tuple(
            Anomaly(
                name="lost-write",
                summary=f"{op.invoke.value} was acknowledged to process {op.process} and is not in the last read",
                ops=(op.invoke.index,),
            )
            for op in lost
        )
        verdict = Verdict.INVALID if anomalies else Verdict.VALID
        return Result(checker="bag-set", verdict=verdict, anomalies=anomalies)


class BrokenChecker:
    description = "always raises (test checker)"
    anomalies: Mapping[str, str] = {}

    def check(self, history: History, context: CheckContext) -> Result:
        raise RuntimeError("a wrong checker")


class ToyKill:
    description = "kills the leader once a second (test nemesis)"
    needs = frozenset({"kill"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        times = range(500, time_limit_ms - 200, 1_000)
        return Schedule(
            tuple(Fault(at_ms=t, kind="kill", selector="leader(bag/0)", duration_ms=150) for t in times)
        )


class ToyCut:
    description = "isolates the leader once (test nemesis)"
    needs = frozenset({"partition"})

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        cut = Fault(
            at_ms=time_limit_ms // 3,
            kind="partition",
            selector="leader",
            duration_ms=time_limit_ms // 3,
            params={"shape": "isolate", "clients": True},
        )
        return Schedule((cut,))


if __name__ == "__main__":
    run_node(bag_node)
