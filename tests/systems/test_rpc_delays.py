"""Messages delayed by kind: each kind keeps its order, others overtake it, and the end of a fault ends the delay."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from harness.clusters.sim import SimBackend, SimCluster
from harness.node import NodeEnvironment
from harness.topology import NodeInfo, Topology
from systems.rpc import Codec, ServerConnection, link_to
from tests.harness.sim.toy import Toy


class Store(msgspec.Struct, frozen=True, tag="store"):
    number: int


class Read(msgspec.Struct, frozen=True, tag="read"):
    number: int


class Stored(msgspec.Struct, frozen=True, tag="stored"):
    number: int


class Found(msgspec.Struct, frozen=True, tag="found"):
    number: int


CODEC = Codec(Store, Read, Stored, Found)


def simulated(scenario: Any) -> Any:
    """`n1` tells `n2` what the scenario puts into the inbox; what arrives is an event, with what came back."""
    inbox: list[Any] = []

    async def node(env: NodeEnvironment) -> None:
        def on(message: Any) -> Any:
            env.emit("arrived", kind=type(message).__name__, number=message.number)
            return Stored(message.number) if isinstance(message, Store) else Found(message.number)

        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: ServerConnection(CODEC, on), env.listen.host, env.listen.port)
        if env.name != "n1":
            await loop.create_future()
        link = link_to(env, "n2", CODEC)
        await link.call(Read(-1), timeout_ms=1_000)

        async def ask(message: Any) -> None:
            began = loop.time()
            try:
                await link.call(message, timeout_ms=3_000)
            except (OSError, TimeoutError) as error:
                env.emit("failed", error=type(error).__name__)
            else:
                ms = (loop.time() - began) * 1000
                env.emit("answered", kind=type(message).__name__, number=message.number, ms=ms)

        asking: list[asyncio.Task[None]] = []
        while True:
            while inbox:
                asking.append(asyncio.ensure_future(ask(inbox.pop(0))))
                # One after the other on the wire.
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)

    async def whole(cluster: SimCluster) -> Any:
        await cluster.start()
        await asyncio.sleep(0.2)
        return await scenario(cluster, inbox)

    return SimBackend().run(
        whole,  # type: ignore[arg-type]
        system=Toy(node),
        topology=Topology((NodeInfo("n1", "store", 1, 7000), NodeInfo("n2", "store", 2, 7000))),
        config={},
        bugs=frozenset(),
        seed=0,
        folder=None,
    )


def told(cluster: SimCluster, kind: str) -> list[tuple[str, int]]:
    return [
        (e.fields["kind"], e.fields["number"])
        for e in cluster.events
        if e.kind == kind and e.fields["number"] >= 0
    ]


async def late(
    cluster: SimCluster, kind: str, *, source: str = "n1", target: str = "n2", **by: float
) -> None:
    by = {"latency_ms": 0.0, "jitter_ms": 0.0, **by}
    assert (await cluster.delay_messages(source, target, kind=kind, **by)).verified


def test_codecs_name_their_kinds() -> None:
    assert CODEC.kinds == {"store", "read", "stored", "found"}


def test_one_kind_is_late_and_another_overtakes_it() -> None:
    async def scenario(cluster: SimCluster, inbox: list[Any]) -> None:
        await late(cluster, "store", latency_ms=500)
        inbox += [Store(1), Store(2), Read(3), Store(4), Read(5)]
        await asyncio.sleep(1)
        assert told(cluster, "arrived") == [
            ("Read", 3),
            ("Read", 5),
            ("Store", 1),
            ("Store", 2),
            ("Store", 4),
        ]
        took = [e.fields["ms"] for e in cluster.events if e.kind == "answered"]
        assert all(ms < 20 for ms in took[:2])
        assert all(500 <= ms < 520 for ms in took[2:])

    simulated(scenario)


def test_jitter_does_not_change_the_order_within_a_kind() -> None:
    async def scenario(cluster: SimCluster, inbox: list[Any]) -> None:
        await late(cluster, "store", latency_ms=10, jitter_ms=300)
        inbox += [Store(number) for number in range(50)]
        await asyncio.sleep(1)
        assert told(cluster, "arrived") == [("Store", number) for number in range(50)]

    simulated(scenario)


def test_answers_can_be_late_too() -> None:
    async def scenario(cluster: SimCluster, inbox: list[Any]) -> None:
        await late(cluster, "stored", source="n2", target="n1", latency_ms=400)
        inbox += [Store(1), Read(2)]
        await asyncio.sleep(0.1)
        assert told(cluster, "arrived") == [("Store", 1), ("Read", 2)]
        assert told(cluster, "answered") == [("Read", 2)]
        await asyncio.sleep(0.5)
        assert told(cluster, "answered") == [("Read", 2), ("Store", 1)]

    simulated(scenario)


def test_the_other_direction_is_not_concerned() -> None:
    async def scenario(cluster: SimCluster, inbox: list[Any]) -> None:
        await late(cluster, "store", source="n2", target="n1", latency_ms=400)
        inbox.append(Store(1))
        await asyncio.sleep(0.1)
        assert told(cluster, "answered") == [("Store", 1)]

    simulated(scenario)


def test_after_the_fault_nothing_new_is_late_but_it_waits_behind_what_is() -> None:
    async def scenario(cluster: SimCluster, inbox: list[Any]) -> None:
        await late(cluster, "store", latency_ms=300)
        inbox.append(Store(1))
        await asyncio.sleep(0.1)
        await late(cluster, "store")
        inbox += [Store(2), Read(3)]
        await asyncio.sleep(0.1)
        assert told(cluster, "arrived") == [("Read", 3)]
        await asyncio.sleep(0.2)
        assert told(cluster, "arrived") == [("Read", 3), ("Store", 1), ("Store", 2)]
        inbox.append(Store(4))
        await asyncio.sleep(0.05)
        assert told(cluster, "arrived")[-1] == ("Store", 4)

    simulated(scenario)


def test_who_gives_up_on_a_late_message_takes_it_back() -> None:
    """The call times out and aborts its connection: what had not left never does."""

    async def scenario(cluster: SimCluster, inbox: list[Any]) -> None:
        await late(cluster, "store", latency_ms=4_000)
        inbox.append(Store(1))
        await asyncio.sleep(6)
        assert told(cluster, "arrived") == []
        assert [e.fields["error"] for e in cluster.events if e.kind == "failed"] == ["TimeoutError"]

    simulated(scenario)


def test_a_fault_outlives_the_process() -> None:
    async def scenario(cluster: SimCluster, inbox: list[Any]) -> None:
        await late(cluster, "store", latency_ms=300)
        await cluster.kill("n1")
        await cluster.restart("n1")
        await asyncio.sleep(0.1)
        inbox.append(Store(1))
        await asyncio.sleep(0.2)
        assert told(cluster, "arrived") == []
        await asyncio.sleep(0.2)
        assert told(cluster, "arrived") == [("Store", 1)]

    simulated(scenario)
