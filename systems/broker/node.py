"""One node of the cluster, assembled: a broker, or a controller (by its role)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from harness.node import NodeEnvironment
from systems.broker.alter_partition import IsrProposals
from systems.broker.channel import Channel, channel_to
from systems.broker.context import Handler, RequestContext, Service
from systems.broker.controller.node import run_controller
from systems.broker.coordinators import coordinator_services
from systems.broker.lifecycle import Lifecycle
from systems.broker.log_reports import LogReports
from systems.broker.metadata import MetadataImage
from systems.broker.quotas.throttling import Quotas
from systems.broker.replica_fetcher import ReplicaFetchers, fetch_limits
from systems.broker.replicas import ReplicaManager
from systems.broker.requests.admin import Admin
from systems.broker.requests.api_versions import ApiVersions
from systems.broker.requests.client_quotas import DescribingQuotas
from systems.broker.requests.configs import Configs
from systems.broker.requests.delete_records import DeleteRecords
from systems.broker.requests.describing import Describing
from systems.broker.requests.fetch import Fetch
from systems.broker.requests.forwarding import Forwarding
from systems.broker.requests.list_offsets import ListOffsets
from systems.broker.requests.log_dirs import LogDirs
from systems.broker.requests.metadata import Metadata
from systems.broker.requests.produce import Produce
from systems.broker.requests.topic_partitions import TopicPartitions
from systems.broker.requests.unconfigured import Unconfigured
from systems.broker.server import Server, serve
from systems.log_dir import on_log_dir


async def run_broker_node(env: NodeEnvironment) -> None:
    """The program of every node of this system: runs until cancelled, ends with what made it useless."""
    if env.role == "controller":
        await run_controller(env)
        return
    broker = BrokerNode(env)
    await broker.start()
    try:
        await broker.failed
    except asyncio.CancelledError:
        await broker.leave()
        raise
    finally:
        if not broker.halted:
            await broker.stop()


class BrokerNode:
    """Implements `context.Broker`."""

    def __init__(self, env: NodeEnvironment) -> None:
        self._env = env = on_log_dir(env, self._on_log_dir_failure)
        self._lifecycle = Lifecycle(env)
        self._channels: dict[tuple[int, str], Channel] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with the exception that made this broker useless."""
        self.halted = False
        """Its log directory failed: there is nothing to stop in an orderly way."""
        self._proposals = IsrProposals(self)
        fetchers = ReplicaFetchers(self, fetch_limits(env.config), self._spawn)
        self._replicas = ReplicaManager(self, fetchers, self._proposals)
        self._lifecycle.on_image(lambda old, new: self._replicas.apply(new))
        self._log_reports = LogReports(self, self._replicas.partitions)
        self._quotas = Quotas(self)
        self._services: tuple[Service, ...] = (
            ApiVersions(self, lambda: self._handlers),
            Metadata(self),
            Produce(self, self._replicas, self._quotas),
            Fetch(self, self._replicas, self._quotas),
            ListOffsets(self, self._replicas),
            DeleteRecords(self, self._replicas),
            Admin(self),
            Configs(self),
            Forwarding(self),
            Describing(self, self._replicas),
            TopicPartitions(self),
            DescribingQuotas(self),
            LogDirs(self, self._replicas),
            Unconfigured(),
            *coordinator_services(self),
        )
        self._handlers: Mapping[int, tuple[range, Handler]] = {
            key: entry for service in self._services for key, entry in service.handlers().items()
        }
        self._server: Server | None = None

    # ── context.Broker ───────────────────────────────────────────────────────────────────────────────

    @property
    def env(self) -> NodeEnvironment:
        return self._env

    @property
    def image(self) -> MetadataImage:
        return self._lifecycle.image

    @property
    def epoch(self) -> int:
        return self._lifecycle.epoch

    @property
    def leased(self) -> bool:
        return self._lifecycle.lease.valid

    @property
    def replicas(self) -> ReplicaManager:
        return self._replicas

    def channel(self, broker_id: int, purpose: str = "") -> Channel:
        known = self._channels.get((broker_id, purpose))
        if known is None:
            # Between nodes of the cluster the environment knows the way (on some backends a proxy of that
            # one link); what is advertised is for clients.
            name = next((n.name for n in self._env.topology.with_role("broker") if n.id == broker_id), None)
            known = channel_to(self._env, name) if name else Channel(lambda: None)
            self._channels[broker_id, purpose] = known
        return known

    async def call_controller(self, request: Any, *, timeout_ms: int) -> Any:
        return await self._lifecycle.call_controller(request, timeout_ms=timeout_ms)

    def on_image(self, callback: Callable[[MetadataImage, MetadataImage], None]) -> None:
        self._lifecycle.on_image(callback)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        for service in self._services:
            await service.start()
        self._spawn(self._proposals.run(), "isr-proposals")
        self._spawn(self._replicas.watch_isr(), "isr-watch")
        self._spawn(self._replicas.checkpoint_high_watermarks(), "high-watermark-checkpoint")
        self._spawn(self._replicas.keep_retention(), "retention")
        self._spawn(self._replicas.keep_compacted(), "log-cleaner")
        self._spawn(self._log_reports.run(), "log-reports")
        self._lifecycle.failed.add_done_callback(self._on_end)
        await self._lifecycle.start()
        self._spawn(self._serve(), "server")

    async def _serve(self) -> None:
        """Listens only when the metadata is caught up: a broker that knew less would tell clients that
        their topics do not exist."""
        await self._replicas.caught_up.wait()
        self._server = await serve(
            self._env.name,
            self._env.listen,
            self._handlers,
            on_error=self._on_handler_error,
            on_request=self._quotas.on_request,
        )
        self._env.emit("broker-started", incarnation=self._env.incarnation)

    async def leave(self) -> None:
        """Controlled shutdown: hands leadership over before the node goes."""
        await self._lifecycle.leave()

    async def stop(self) -> None:
        for service in reversed(self._services):
            await service.stop()
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            await self._server.close()
        for channel in self._channels.values():
            channel.close()
        self._log_reports.stop()
        self._replicas.stop()
        self._replicas.write_checkpoint()
        await self._replicas.flush()
        await self._lifecycle.stop()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._on_end)
        self._tasks.append(task)
        return task

    def _on_end(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

    def _on_log_dir_failure(self, error: OSError) -> None:
        if not self.failed.done():
            self.halted = True
            self._env.emit("log-dir-failed", error=str(error))
            self.failed.set_exception(error)

    def _on_handler_error(self, context: RequestContext, error: Exception) -> None:
        self._env.emit("internal-error", api_key=context.api_key, version=context.version, detail=repr(error))
