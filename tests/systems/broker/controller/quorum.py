"""A control plane on the simulator: real controllers, and brokers that have a lifecycle but no data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from harness.clusters.sim import SimBackend, SimCluster
from harness.node import NodeEnvironment, NodeProgram
from harness.topology import NodeInfo, Topology
from systems.broker import messages
from systems.broker.controller.node import run_controller
from systems.broker.lifecycle import Lifecycle
from systems.broker.log.leader_epochs import LeaderEpochs
from systems.broker.log_reports import LogReports
from systems.broker.metadata import MetadataImage

T = TypeVar("T")

TOPOLOGY = Topology(
    nodes=tuple(
        [NodeInfo(f"b{i}", "broker", i, 9092) for i in (1, 2, 3)]
        + [NodeInfo(f"c{i}", "controller", 100 + i, 9093) for i in (1, 2, 3)]
    ),
    clients=("harness",),
)
CONFIG = {
    "min.insync.replicas": 2,
    "replication.factor": 3,
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    "transaction.version": 2,
    "eligible.leader.replicas.version": 1,
}


class ControlPlane:
    """A system whose newest broker lifecycles a test can look into, by node name."""

    def __init__(self) -> None:
        self.brokers: dict[str, Lifecycle] = {}
        self.images: list[tuple[str, MetadataImage]] = []

    def learned(self, broker: str, image: MetadataImage) -> None:
        self.images.append((broker, image))

    def program(self) -> NodeProgram:
        return self._run

    async def _run(self, env: NodeEnvironment) -> None:
        if env.role == "controller":
            await run_controller(env)
            return
        lifecycle = self.brokers[env.name] = Lifecycle(env)
        lifecycle.on_image(lambda old, new: self.learned(env.name, new))
        reports = LogReports(lifecycle, lambda: empty_replicas(lifecycle.image))  # type: ignore[arg-type]
        await lifecycle.start()
        reporting = asyncio.get_running_loop().create_task(reports.run())
        try:
            await lifecycle.failed
        finally:
            reporting.cancel()
            reports.stop()
            await lifecycle.stop()


def empty_replicas(image: MetadataImage) -> list[Any]:
    """What a broker without data has to show where a partition waits for recovery."""
    nothing = SimpleNamespace(end_offset=0, epochs=LeaderEpochs())
    return [
        SimpleNamespace(
            topic=topic.name, topic_id=topic.id, index=index, leader_epoch=state.leader_epoch, log=nothing
        )
        for topic in image.topics.values()
        for index, state in enumerate(topic.partitions)
    ]


def simulate(
    scenario: Callable[[SimCluster, ControlPlane], Awaitable[T]],
    *,
    seed: int = 0,
    bugs: frozenset[str] = frozenset(),
    plane: ControlPlane | None = None,
    **config: Any,
) -> T:
    plane = plane or ControlPlane()

    async def run(cluster: Any) -> T:
        await cluster.start()
        return await scenario(cluster, plane)

    settings = CONFIG | {key.replace("_", "."): value for key, value in config.items()}
    return SimBackend().run(
        run, system=plane, topology=TOPOLOGY, config=settings, bugs=bugs, seed=seed, folder=None
    )


async def on_broker(
    cluster: SimCluster, plane: ControlPlane, name: str, request: Any, timeout_ms: int = 8000
) -> Any:
    """Sends a request to the active controller as that broker would."""
    return await cluster.client_host("harness").spawn(
        plane.brokers[name].call_controller(request, timeout_ms=timeout_ms)
    )


def create_topic(name: str, partitions: int = 1, replication_factor: int = 3, **config: str) -> Any:
    return messages.request(
        19,
        7,
        topics=[
            {
                "name": name,
                "num_partitions": partitions,
                "replication_factor": replication_factor,
                "assignments": (),
                "configs": [{"name": k.replace("_", "."), "value": v} for k, v in config.items()],
            }
        ],
        timeout=messages.milliseconds(5000),
    )


def events(cluster: SimCluster, kind: str) -> list[dict[str, Any]]:
    return [e.fields | {"node": e.node} for e in cluster.events if e.kind == kind]


def active_controller(cluster: SimCluster) -> str:
    return events(cluster, "controller-elected")[-1]["node"]
