"""A controller node: Raft, the metadata state machine on it, and the requests of the brokers."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from harness.node import NodeEnvironment
from systems.broker.context import Handler
from systems.broker.controller.alter_partition import AlterPartition
from systems.broker.controller.client_quotas import ClientQuotas
from systems.broker.controller.elections import Rules
from systems.broker.controller.heartbeats import Heartbeats
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.controller.port import PortProtocol
from systems.broker.controller.producer_ids import ProducerIds
from systems.broker.controller.recovery import Recovery
from systems.broker.controller.registration import Registration
from systems.broker.controller.topic_changes import TopicChanges
from systems.broker.controller.topics import Topics
from systems.broker.metadata import ELR_FEATURE, TRANSACTION_FEATURE, FeatureLevel, Record
from systems.broker.replica_logs import ReplicaLogs, codec
from systems.broker.requests.forwarding import (
    ALTER_CLIENT_QUOTAS,
    ALTER_CONFIGS,
    CREATE_PARTITIONS,
    DELETE_TOPICS,
    ELECT_LEADERS,
    INCREMENTAL_ALTER_CONFIGS,
    VERSIONS,
)
from systems.broker.server import Server
from systems.raft.core import RaftConfig
from systems.raft.node import RaftNode
from systems.rpc import ServerConnection, link_to

CREATE_TOPICS: Final = 19
ALTER_PARTITION: Final = 56
BROKER_REGISTRATION: Final = 62
BROKER_HEARTBEAT: Final = 63
ALLOCATE_PRODUCER_IDS: Final = 67

_FEATURE_DEFAULTS: Final = {TRANSACTION_FEATURE: 2, ELR_FEATURE: 1}


class Controller:
    """One voter of the quorum; the active controller while it leads."""

    def __init__(self, env: NodeEnvironment) -> None:
        config = env.config
        election_ms = int(config.get("controller.quorum.election.timeout.ms", 1000))
        rules = Rules(config, env.bugs)
        self.env = env
        self.log = MetadataLog(env)
        self._heartbeats = Heartbeats(
            self.log, rules, session_timeout_ms=int(config.get("broker.session.timeout.ms", 3000))
        )
        self._registration = Registration(self.log, rules, self._heartbeats)
        self._alter_partition = AlterPartition(self.log, rules)
        self._recovery = Recovery(self.log, rules)
        self._topics = Topics(self.log)
        self._topic_changes = TopicChanges(self.log)
        self._client_quotas = ClientQuotas(self.log)
        self._producer_ids = ProducerIds(self.log)
        self._server = Server(env.name, self.handlers(), lambda context, error: None)
        peers = [n for n in env.topology.with_role("controller") if n.id != env.id]
        self._links = {n.id: link_to(env, n.name, codec) for n in peers}
        self._listener: asyncio.AbstractServer | None = None
        self.log.raft = RaftNode(
            RaftConfig(
                id=env.id,
                voters=tuple(n.id for n in env.topology.with_role("controller")),
                election_timeout_ms=election_ms,
                heartbeat_ms=election_ms / 4,
                check_quorum_ms=int(config.get("controller.quorum.fetch.timeout.ms", 2000)),
                entries_per_append=int(config.get("controller.quorum.append.max.entries", 64)),
                bugs=env.bugs,
            ),
            self.log,
            disk=env.disk,
            rng=env.random,
            links=self._links,
            leader_entry=self.log.opening_entry,
            step=env.step,
        )
        self.log.on_activated = self._activate
        self.log.on_deactivated = self._deactivate

    def handlers(self) -> dict[int, tuple[range, Handler]]:
        return {
            CREATE_TOPICS: (range(2, 8), self._topics.on_create_topics),
            CREATE_PARTITIONS: (range(0, 4), self._topics.on_create_partitions),
            DELETE_TOPICS: (VERSIONS[DELETE_TOPICS], self._topic_changes.on_delete_topics),
            ALTER_CONFIGS: (VERSIONS[ALTER_CONFIGS], self._topic_changes.on_alter_configs),
            INCREMENTAL_ALTER_CONFIGS: (
                VERSIONS[INCREMENTAL_ALTER_CONFIGS],
                self._topic_changes.on_incremental_alter_configs,
            ),
            ALTER_CLIENT_QUOTAS: (
                VERSIONS[ALTER_CLIENT_QUOTAS],
                self._client_quotas.on_alter_client_quotas,
            ),
            ELECT_LEADERS: (VERSIONS[ELECT_LEADERS], self._topic_changes.on_elect_leaders),
            ALTER_PARTITION: (range(2, 4), self._alter_partition.on_alter_partition),
            BROKER_REGISTRATION: (range(3, 5), self._registration.on_broker_registration),
            BROKER_HEARTBEAT: (range(0, 2), self._heartbeats.on_broker_heartbeat),
            ALLOCATE_PRODUCER_IDS: (range(0, 1), self._producer_ids.on_allocate_producer_ids),
        }

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        address = self.env.listen
        self._listener = await loop.create_server(self._connection, address.host, address.port)
        self.log.raft.start()

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self.log.raft.stop()
        self._heartbeats.deactivate()
        for link in self._links.values():
            link.close()
        await self._server.close()

    def _connection(self) -> asyncio.Protocol:
        return PortProtocol(
            kafka=self._server.connection, rpc=lambda: ServerConnection(codec, self._on_frame)
        )

    def _on_frame(self, message: Any) -> Any:
        if isinstance(message, ReplicaLogs):
            return self._recovery.on_replica_logs(message)
        return self.log.raft.handle(message)

    def _activate(self) -> None:
        self._heartbeats.activate()
        self._finalize_features()

    def _deactivate(self) -> None:
        self._heartbeats.deactivate()
        self._recovery.deactivate()

    def _finalize_features(self) -> None:
        """The first active controller of a cluster writes the feature levels down; later ones find them."""
        missing: list[Record] = [
            FeatureLevel(name, int(self.env.config.get(name, default)))
            for name, default in _FEATURE_DEFAULTS.items()
            if name not in self.log.pending.features
        ]
        if missing:
            self.log.append(missing).add_done_callback(lambda f: f.cancelled() or f.exception())


async def run_controller(env: NodeEnvironment) -> None:
    """The program of a controller node; runs until cancelled, ends with the error that made it useless."""
    controller = Controller(env)
    await controller.start()
    try:
        await controller.log.raft.failed
    finally:
        await controller.stop()
