"""What the harness itself costs on real processes: how many operations a second it can drive and record against a
system that does nothing, and how much slower an answer is for having come through a proxy.

    python benchmarks/local.py            both
    python benchmarks/local.py rate       operations a second: a bare event loop, the harness without proxies, with them
    python benchmarks/local.py latency    round trip of one request, and of many at once, direct and through a proxy

The null system answers every line with a line. "bare" are as many clients that write and wait, in one event loop, and
nothing else; every other figure is given as a ratio to the one it extends. `--json` prints one object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import timeouts
from harness.cluster import Cluster
from harness.clusters.links import Links
from harness.clusters.local import LocalBackend, LocalCluster
from harness.execute import carry_out
from harness.generators import Context, Repeat
from harness.history import HistoryWriter
from harness.node import Address, NodeEnvironment, NodeEvent
from harness.plan import Plan
from harness.process import run_node
from harness.runner import Interrupt, Recording, Runner
from harness.schedule import Schedule
from harness.settings import Setting, resolve
from harness.spec import Spec
from harness.topology import NodeInfo, Topology
from harness.workload import Completion, Invocation, Test, ok

CONCURRENCY = (1, 10, 100)
NODES = 3
REQUEST, ANSWER = b"x\n", b"ok\n"
ROUND_TRIPS = 5_000
ROUNDS = 3


class _Answering(asyncio.Protocol):
    """A node's end of a connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER * data.count(b"\n"))


class _Asking(asyncio.Protocol):
    """A client's end: one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._answered is not None
        self._answered.set_result(None)

    async def ask(self) -> None:
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(REQUEST)
        await self._answered

    def close(self) -> None:
        self._transport.close()


async def connect(address: Address) -> _Asking:
    _, asking = await asyncio.get_running_loop().create_connection(_Asking, *address)
    return asking


async def null_node(environment: NodeEnvironment) -> None:
    server = await asyncio.get_running_loop().create_server(_Answering, *environment.listen)
    async with server:
        await server.serve_forever()


class NullView:
    def observe(self, event: NodeEvent) -> None:
        return None

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        raise KeyError(function)

    def snapshot(self) -> dict[str, Any]:
        return {}


class NullSystem:
    """Does nothing, and does it at once."""

    description = "answers"
    capabilities = frozenset({"answers"})
    settings: tuple[Setting, ...] = ()
    playground: Mapping[str, Any] = {}
    bugs: Mapping[str, str] = {}
    situations: Mapping[str, str] = {}

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        return tuple(NodeInfo(f"n{i}", "node", i, 7_000 + i) for i in range(1, count + 1))

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def program(self) -> Any:
        return null_node

    def command(self) -> Sequence[str]:
        return (str(Path(__file__).resolve()),)

    def view(self, topology: Topology) -> NullView:
        return NullView()

    async def ready(self, cluster: Cluster) -> None:
        return None

    async def recovered(self, cluster: Cluster) -> None:
        return None

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        raise NotImplementedError("the workload dials the nodes itself")

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        return {}

    def promise(self, config: Mapping[str, Any]) -> str:
        return "an answer"


class NullClient:
    def __init__(self, address: Address) -> None:
        self._address = address
        self._asking: _Asking | None = None

    async def open(self) -> None:
        self._asking = await connect(self._address)

    async def invoke(self, op: Invocation) -> Completion:
        assert self._asking is not None
        await self._asking.ask()
        return ok()

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.close()


class NullWorkload:
    description = "asks, as fast as it is answered"
    requires = frozenset({"answers"})
    settings: tuple[Setting, ...] = ()
    checkers: tuple[str, ...] = ()
    default_rate = 0.0
    default_concurrency = 1

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {}

    async def setup(self, test: Test) -> None:
        return None

    def client(self, test: Test, slot: int, process: int, host: str) -> NullClient:
        node = test.topology.nodes[slot % NODES].name
        return NullClient(test.cluster.address(node, client=host))

    def generator(self, test: Test) -> Repeat:
        return Repeat(self._request)

    @staticmethod
    def _request(context: Context) -> Invocation:
        return Invocation(f="ask", value=context.slot)

    def final_generator(self, test: Test) -> None:
        return None


class DirectBackend(LocalBackend):
    """Clients dial the nodes themselves."""

    def run(self, scenario: Any, **asked: Any) -> Any:
        async def directly(cluster: Cluster) -> Any:
            loop: Any = asyncio.get_running_loop()
            loop.route = None
            return await scenario(cluster)

        return super().run(directly, **asked)


def driven(backend: LocalBackend, concurrency: int, seconds: float, root: Path | None) -> float:
    """Operations a second of a run of the harness; recorded in a run folder below `root`."""
    system = NullSystem()
    config = dict(resolve(timeouts.SETTINGS, {}))
    topology = _topology(concurrency)
    spec = Spec(
        system="null",
        workload="null",
        backend="local",
        nodes=NODES,
        concurrency=concurrency,
        time_limit_ms=int(seconds * 1000),
        config=config,
    )
    plan = Plan(spec, system, NullWorkload(), backend, topology, Schedule())
    if root is not None:
        outcome = carry_out(plan, asked=spec, root=root)
        assert not outcome.cleanup, outcome.cleanup
        return sum(outcome.result.ops.values()) / seconds
    recording = Recording()
    writers: list[HistoryWriter] = []

    def in_memory(now_ns: Any) -> HistoryWriter:
        writers.append(HistoryWriter(None, now_ns))
        return writers[0]

    runner = Runner(
        plan,
        writer=in_memory,
        record_event=lambda event: None,
        interrupt=Interrupt(),
        recording=recording,
    )
    backend.run(
        runner.scenario,
        system=system,
        topology=topology,
        config=config,
        bugs=frozenset(),
        seed=0,
        folder=None,
    )
    return sum(op.type == "ok" for op in writers[0].ops) / seconds


def _topology(clients: int) -> Topology:
    return Topology(
        nodes=NullSystem().nodes(NODES, {}), clients=tuple(f"client-{slot}" for slot in range(clients))
    )


def on_cluster(scenario: Any) -> Any:
    """With the null system's nodes up, and nothing of the harness between."""

    async def within(cluster: LocalCluster) -> Any:
        await cluster.start()
        addresses = [cluster.address(node.name, client="") for node in cluster.topology.nodes]
        result = await scenario(addresses)
        await cluster.stop()
        return result

    config = dict(resolve(timeouts.SETTINGS, {}))
    return LocalBackend().run(
        within,  # type: ignore[arg-type]
        system=NullSystem(),
        topology=_topology(0),
        config=config,
        bugs=frozenset(),
        seed=0,
        folder=None,
    )


def bare(concurrency: int, seconds: float) -> float:
    async def scenario(addresses: Sequence[Address]) -> float:
        end = time.monotonic() + seconds

        async def client(slot: int) -> int:
            asking, count = await connect(addresses[slot % NODES]), 0
            while time.monotonic() < end:
                await asking.ask()
                count += 1
            asking.close()
            return count

        return sum(await asyncio.gather(*(client(slot) for slot in range(concurrency)))) / seconds

    return float(on_cluster(scenario))


def rate(concurrency: int, seconds: float) -> dict[str, Any]:
    """Medians of rounds in which each is measured once, so that all meet the same other load of the machine."""
    rounds = [_round(concurrency, seconds) for _ in range(ROUNDS)]
    alone, direct, proxied, stored = (statistics.median(each) for each in zip(*rounds, strict=True))
    return {
        "concurrency": concurrency,
        "bare_per_s": round(alone),
        "direct_per_s": round(direct),
        "proxied_per_s": round(proxied),
        "stored_per_s": round(stored),
        "direct_to_bare": round(direct / alone, 2),
        "proxied_to_direct": round(proxied / direct, 2),
        "stored_to_proxied": round(stored / proxied, 2),
    }


def _round(concurrency: int, seconds: float) -> tuple[float, float, float, float]:
    alone = bare(concurrency, seconds)
    direct = driven(DirectBackend(), concurrency, seconds, None)
    proxied = driven(LocalBackend(), concurrency, seconds, None)
    with tempfile.TemporaryDirectory() as folder:
        return alone, direct, proxied, driven(LocalBackend(), concurrency, seconds, Path(folder))


def latency(at_once: int) -> dict[str, Any]:
    async def scenario(addresses: Sequence[Address]) -> tuple[list[float], list[float]]:
        links = Links()
        proxy = await links.open("client", "node", addresses[0])
        try:
            # In turns, for the same reason as in `rate`.
            direct: list[float] = []
            proxied: list[float] = []
            for _ in range(5):
                direct += await _round_trips(addresses[0], at_once)
                proxied += await _round_trips(proxy, at_once)
        finally:
            links.close()
        return sorted(direct), sorted(proxied)

    direct, proxied = on_cluster(scenario)
    told: dict[str, Any] = {"at_once": at_once}
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        one, other = (each[int(part * len(each))] * 1e6 for each in (direct, proxied))
        told |= {
            f"direct_{name}_us": round(one),
            f"proxied_{name}_us": round(other),
            f"{name}_ratio": round(other / one, 2),
        }
    return told


async def _round_trips(address: Address, at_once: int) -> list[float]:
    async def client() -> list[float]:
        asking, took = await connect(address), []
        for _ in range(ROUND_TRIPS // at_once // 5):
            before = time.perf_counter()
            await asking.ask()
            took.append(time.perf_counter() - before)
        asking.close()
        return took

    return [each for some in await asyncio.gather(*(client() for _ in range(at_once))) for each in some]


def in_process(what: str, number: int, seconds: float) -> dict[str, Any]:
    """In a process of its own."""
    words = [sys.executable, __file__, "measure", "--only", f"{what}/{number}", "--seconds", str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what}/{number} failed:\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    if "--environment" in sys.argv:
        run_node(null_node)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("all", "rate", "latency", "measure"), nargs="?", default="all")
    parser.add_argument("--only", help="one figure, as rate/10")
    parser.add_argument("--seconds", type=float, default=5, help="of each measured run")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.what == "measure":
        what, _, number = given.only.partition("/")
        print(json.dumps(rate(int(number), given.seconds) if what == "rate" else latency(int(number))))
        return
    for what in ("rate", "latency") if given.what == "all" else (given.what,):
        rows = [in_process(what, number, given.seconds) for number in CONCURRENCY]
        if given.json:
            print("\n".join(json.dumps(row) for row in rows), flush=True)
            continue
        print("  ".join(rows[0]))
        for row in rows:
            print("  ".join(f"{value:>{len(name)}}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
