"""A broker whose disk takes nothing more stops at once, and comes back when there is room."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from harness.clusters.sim import SimBackend, SimCluster
from harness.settings import resolve
from harness.topology import Topology
from systems.broker.settings import SETTINGS
from systems.broker.system import BrokerSystem
from systems.log_dir import LogDir
from tests.systems.broker.memory_environment import MemoryDisk


class Full(MemoryDisk):
    def append(self, name: str, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def fsync(self, name: str) -> None:
        raise OSError(errno.EIO, "Input/output error")


def test_errors_of_writing_are_reported_and_raised() -> None:
    told: list[OSError] = []
    log_dir = LogDir(Full(), told.append)
    with pytest.raises(OSError, match="No space left"):
        log_dir.append("a", b"x")
    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(log_dir.fsync("a"))
    assert [e.errno for e in told] == [errno.ENOSPC, errno.EIO]


def test_a_file_that_is_not_there_is_no_failure_of_the_disk() -> None:
    told: list[OSError] = []
    with pytest.raises(FileNotFoundError):
        LogDir(MemoryDisk(), told.append).remove("nothing")
    assert told == []


def test_a_full_broker_halts_and_is_fenced() -> None:
    system = BrokerSystem()
    config = dict(resolve(SETTINGS, {}))

    async def scenario(cluster: SimCluster) -> list[tuple[str, str]]:
        await cluster.start()
        await system.ready(cluster)
        await cluster.fill_disk("b2", full=True)
        client = cluster.client_host("client-0")
        await client.spawn(_create_topics(cluster))
        await asyncio.sleep(10)
        return [(e.node, e.kind) for e in cluster.events]

    async def _create_topics(cluster: SimCluster) -> None:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=str(":".join(map(str, cluster.address("b1", client="client-0"))))
        )
        await admin.start()
        await admin.create_topics([NewTopic("t", 3, 3)])
        await admin.close()

    events: list[Any] = SimBackend().run(
        scenario,  # type: ignore[arg-type]
        system=system,
        topology=Topology(system.nodes(3, config), ("client-0",)),
        config=config,
        bugs=frozenset(),
        seed=0,
        folder=None,
    )
    assert ("b2", "log-dir-failed") in events
    assert ("b2", "exited") in events
    assert not [node for node, kind in events if kind == "exited" and node != "b2"]
