"""A broker's part in the recovery of partitions without leader, ISR and ELR: it says what its log holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from systems.broker.context import Broker
from systems.broker.controller.recovery import awaits_recovery
from systems.broker.metadata import MetadataImage
from systems.broker.partition import Partition
from systems.broker.replica_logs import ReplicaLog, ReplicaLogs, ReplicaLogsReply, codec
from systems.rpc import link_to

REPEAT_S: Final = 0.5
_TIMEOUT_MS: Final = 1000


class LogReports:
    """Reports as long as such partitions are there: a controller that takes over knows nothing of it."""

    def __init__(self, broker: Broker, replicas: Callable[[], Iterable[Partition]]) -> None:
        self._broker = broker
        self._replicas = replicas
        env = broker.env
        self._links = [link_to(env, n.name, codec) for n in env.topology.with_role("controller")]
        self._asked = 0
        self._changed = asyncio.Event()
        broker.on_image(lambda old, new: self._changed.set())

    async def run(self) -> None:
        while True:
            self._changed.clear()
            broker = self._broker
            logs = wanted_logs(broker.image, broker.env.id, self._replicas())
            if logs:
                await self._send(ReplicaLogs(broker.env.id, broker.epoch, logs))
            try:
                async with asyncio.timeout(REPEAT_S if logs else None):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def stop(self) -> None:
        for link in self._links:
            link.close()

    async def _send(self, report: ReplicaLogs) -> None:
        """To the active controller, if one of them is; the next report tries again."""
        for _ in self._links:
            link = self._links[self._asked % len(self._links)]
            try:
                reply: ReplicaLogsReply = await link.call(report, timeout_ms=_TIMEOUT_MS)
                if reply.is_active:
                    return
            except (OSError, TimeoutError):
                pass
            self._asked += 1


def wanted_logs(
    image: MetadataImage, broker_id: int, replicas: Iterable[Partition]
) -> tuple[ReplicaLog, ...]:
    """What the controller waits for, by that metadata. A replica that has not entered the leaderless epoch
    yet says nothing: it may still append what its last leader sent."""
    if not image.unfenced(broker_id):
        return ()
    logs = []
    for partition in replicas:
        state = image.partition(partition.topic, partition.index)
        if state is None or not awaits_recovery(state) or partition.leader_epoch != state.leader_epoch:
            continue
        end = partition.log.end_offset
        last_epoch = partition.log.epochs.epoch_at(end - 1)
        logs.append(ReplicaLog(partition.topic_id, partition.index, state.leader_epoch, last_epoch, end))
    return tuple(logs)
