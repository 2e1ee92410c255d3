"""The broker's side of the control plane: registration, heartbeats, and the metadata it follows (semantics 2.1 rule 1).

A broker is an observer of the controllers' Raft log. It folds the committed batches into its image, in
order, and listens to no controller of an older epoch than it has seen.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from kio.schema.errors import ErrorCode

from harness.node import NodeEnvironment
from systems.broker import messages
from systems.broker.controller_client import ControllerClient
from systems.broker.lease import Lease
from systems.broker.metadata import MetadataImage, apply_batch, decode_batch, decode_image
from systems.raft.messages import ObserveReply, ObserveRequest, Snapshot, codec
from systems.rpc import link_to

log = logging.getLogger(__name__)

BROKER_REGISTRATION: Final = 62
BROKER_HEARTBEAT: Final = 63
CLEAN_SHUTDOWN_FILE: Final = "clean-shutdown"
OBSERVE_WAIT_MS: Final = 1000
_OBSERVE_TIMEOUT_MS: Final = 2500
_BACKOFF_S: Final = 0.1

ImageCallback = Callable[[MetadataImage, MetadataImage], None]


class Lifecycle:
    """`image` and `epoch` are what `Broker` promises of them."""

    def __init__(self, env: NodeEnvironment) -> None:
        self.env = env
        self.image = MetadataImage()
        self.epoch = -1
        self.lease = Lease(int(env.config.get("broker.session.timeout.ms", 3000)))
        self.in_service = asyncio.Event()
        """Set once the controller has unfenced this broker for the first time."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with the exception that made this broker useless."""
        self._heartbeat_ms = int(env.config.get("broker.heartbeat.interval.ms", 500))
        self._incarnation = uuid.UUID(bytes=env.random.randbytes(16), version=4)
        self._clean_epoch = -1
        self._leaving = False
        self._controllers = ControllerClient(env)
        self._urgent = ControllerClient(env)
        self._links = {n.id: link_to(env, n.name, codec) for n in env.topology.with_role("controller")}
        self._position = Snapshot(0, 0, b"")
        self._controller_epoch = -1
        self._callbacks: list[ImageCallback] = []
        self._image_changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def on_image(self, callback: ImageCallback) -> None:
        """Called with (old, new) after each change of the metadata, in order."""
        self._callbacks.append(callback)

    async def call_controller(self, request: Any, *, timeout_ms: int) -> Any:
        """The active controller's response. Raises `TimeoutError`."""
        return await self._controllers.call(request, timeout_ms=timeout_ms)

    async def start(self) -> None:
        """Starts to follow the metadata, and registers as soon as a controller accepts. The broker's log
        must have been recovered: from now on it may be made a leader."""
        self._clean_epoch = self._take_clean_shutdown()
        self._spawn(self._follow())
        self._spawn(self._serve())

    async def leave(self, *, timeout_ms: int = 500) -> None:
        """Controlled shutdown: asks to be taken out of leadership and ISRs, and stays out. Best effort."""
        self._leaving = True
        self.lease.surrender()
        if self.epoch >= 0:
            try:
                await self._urgent.call(self._heartbeat(), timeout_ms=timeout_ms)
            except TimeoutError:
                log.info("%s: no controller let it go in time", self.env.name)

    async def stop(self) -> None:
        """Ends everything. After `leave`, and with the logs flushed, it is an orderly stop: the broker
        epoch is noted, so that the next registration counts as clean."""
        self._cancel()
        if self._leaving and self.epoch >= 0:
            disk = self.env.disk
            disk.write(f"{CLEAN_SHUTDOWN_FILE}.next", msgspec.json.encode({"broker_epoch": self.epoch}))
            await disk.fsync(f"{CLEAN_SHUTDOWN_FILE}.next")
            disk.rename(f"{CLEAN_SHUTDOWN_FILE}.next", CLEAN_SHUTDOWN_FILE)
            await disk.fsync(CLEAN_SHUTDOWN_FILE)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        for link in self._links.values():
            link.close()
        self._controllers.close()
        self._urgent.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    def _take_clean_shutdown(self) -> int:
        """The broker epoch of an orderly stop, -1 after any other end. Read once."""
        disk = self.env.disk
        if not disk.exists(CLEAN_SHUTDOWN_FILE):
            return -1
        try:
            epoch = int(msgspec.json.decode(disk.read(CLEAN_SHUTDOWN_FILE))["broker_epoch"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            epoch = -1
        disk.remove(CLEAN_SHUTDOWN_FILE)
        return epoch

    # Registration and heartbeats

    async def _serve(self) -> None:
        while True:
            await self._register()
            while self.image.offset < self.epoch:
                self._image_changed.clear()
                await self._image_changed.wait()
            await self._beat()

    async def _register(self) -> None:
        """Rule 1. Retries while the old incarnation is still in service."""
        advertised = self.env.advertised
        request = messages.request(
            BROKER_REGISTRATION,
            4,
            broker_id=self.env.id,
            cluster_id="chaos",
            incarnation_id=self._incarnation,
            listeners=[
                {
                    "name": "PLAINTEXT",
                    "host": advertised.host,
                    "port": advertised.port,
                    "security_protocol": 0,
                }
            ],
            features=[],
            rack=None,
            previous_broker_epoch=self._clean_epoch,
        )
        while True:
            try:
                response = await self._urgent.call(request, timeout_ms=10_000)
            except TimeoutError:
                continue
            if response.error_code is ErrorCode.none:
                self.epoch = int(response.broker_epoch)
                return
            await asyncio.sleep(self._heartbeat_ms / 1000)

    async def _beat(self) -> None:
        """Heartbeats until the controller no longer knows this registration."""
        loop = asyncio.get_running_loop()
        while True:
            sent, told = loop.time(), self.image.offset
            try:
                response = await self._urgent.call(self._heartbeat(), timeout_ms=10_000)
            except TimeoutError:
                continue
            if response.error_code in (ErrorCode.stale_broker_epoch, ErrorCode.broker_id_not_registered):
                # Whatever this broker wrote since: it starts over as one that may have lost data.
                self._clean_epoch = -1
                self.lease.end()
                return
            if response.error_code is ErrorCode.none and not response.is_fenced:
                self.lease.extend(sent)
                self.in_service.set()
            until = sent + self._heartbeat_ms / 1000
            if response.is_fenced:
                await self._until_more_is_known(told, until)
            else:
                await asyncio.sleep(max(0.0, until - loop.time()))

    async def _until_more_is_known(self, offset: int, until: float) -> None:
        """A fenced broker waits for its metadata: with more of it the next heartbeat may be accepted."""
        try:
            async with asyncio.timeout_at(until):
                while self.image.offset <= offset:
                    self._image_changed.clear()
                    await self._image_changed.wait()
        except TimeoutError:
            pass

    def _heartbeat(self) -> Any:
        return messages.request(
            BROKER_HEARTBEAT,
            1,
            broker_id=self.env.id,
            broker_epoch=self.epoch,
            current_metadata_offset=self.image.offset,
            want_fence=False,
            want_shut_down=self._leaving,
        )

    # Metadata

    async def _follow(self) -> None:
        """Long polls at the controller that leads; looks for it where it is not known."""
        ids = list(self._links)
        at = self.env.id % len(ids)
        while True:
            request = ObserveRequest(self.env.id, self._position.index, self._position.term, OBSERVE_WAIT_MS)
            try:
                reply: ObserveReply = await self._links[ids[at]].call(request, timeout_ms=_OBSERVE_TIMEOUT_MS)
            except (OSError, TimeoutError):
                at = (at + 1) % len(ids)
                await asyncio.sleep(_BACKOFF_S)
                continue
            if not reply.is_leader or self._is_deposed(reply):
                at = (
                    ids.index(reply.leader)
                    if reply.leader in ids and not reply.is_leader
                    else (at + 1) % len(ids)
                )
                await asyncio.sleep(_BACKOFF_S)
                continue
            self._controller_epoch = max(self._controller_epoch, reply.term)
            self._urgent.active = self._controllers.active = ids[at]
            self._accept(reply)

    def _is_deposed(self, reply: ObserveReply) -> bool:
        """Semantics 2.2: controller epochs only grow; what an older one says is void."""
        if "zombie-controller-not-fenced" in self.env.bugs:
            return False
        return reply.term < self._controller_epoch

    def _accept(self, reply: ObserveReply) -> None:
        if reply.snapshot is not None:
            self._position = reply.snapshot
            self._replace(decode_image(reply.snapshot.data))
        for entry in reply.entries:
            index = self._position.index + 1
            self._position = Snapshot(index, entry.term, b"")
            records = decode_batch(entry.data)
            self._replace(apply_batch(self.image, records, index))

    def _replace(self, image: MetadataImage) -> None:
        old, self.image = self.image, image
        self._image_changed.set()
        for callback in self._callbacks:
            callback(old, image)
