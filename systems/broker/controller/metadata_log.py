"""The controllers' state machine: the committed image, and what the active controller has appended to it.

The active controller (the Raft leader) decides on `pending`, which includes what it has appended but not
yet committed, and answers only after the commit. Whatever it decided is void if it is deposed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kio.schema.errors import ErrorCode

from harness.node import NodeEnvironment
from systems.broker.context import KafkaError
from systems.broker.controller.events import emit_committed
from systems.broker.metadata import (
    LeaderChange,
    MetadataImage,
    Record,
    apply_batch,
    decode_batch,
    decode_image,
    encode_batch,
    encode_image,
)
from systems.raft.leadership import NotLeader
from systems.raft.messages import Snapshot
from systems.raft.node import RaftNode


class MetadataLog:
    """The `StateMachine` of one controller. `raft` is set once, by the node that assembles both."""

    raft: RaftNode

    def __init__(self, env: NodeEnvironment) -> None:
        self.env = env
        self.image = MetadataImage()
        self.pending = self.image
        self.active = False
        self.on_activated: Callable[[], None] = lambda: None
        self.on_deactivated: Callable[[], None] = lambda: None

    def require_active(self) -> None:
        """Raises `NOT_CONTROLLER` unless this is the active controller."""
        if not self.active or not self.raft.is_leader:
            raise KafkaError(ErrorCode.not_controller, f"the active controller may be {self.raft.leader}")

    def append(self, records: Sequence[Record]) -> asyncio.Future[int]:
        """Appends one batch at once, so that the next decision sees it. The future gives its offset once
        it is committed; see `committed`. Raises `NOT_CONTROLLER`."""
        self.require_active()
        try:
            future = self.raft.propose(encode_batch(records))
        except NotLeader as error:
            raise KafkaError(ErrorCode.not_controller, str(error)) from None
        self.pending = apply_batch(self.pending, records, self.raft.next_index - 1)
        return future

    async def confirm_active(self) -> None:
        """Returns once a majority has confirmed that this was the active controller when it was asked. Raises
        `NOT_CONTROLLER`."""
        try:
            await self.raft.confirm_leadership()
        except NotLeader as error:
            raise KafkaError(ErrorCode.not_controller, str(error)) from None

    @staticmethod
    async def committed(appended: asyncio.Future[int]) -> int:
        """Waits for the commit. Raises `NOT_CONTROLLER` where this controller was deposed before: the
        batch may or may not come to be."""
        try:
            return await appended
        except NotLeader as error:
            raise KafkaError(ErrorCode.not_controller, str(error)) from None

    # raft.StateMachine

    def apply(self, index: int, term: int, data: bytes) -> None:
        records = decode_batch(data)
        self.image = apply_batch(self.image, records, index)
        if not self.active:
            self.pending = self.image
        if self.raft.is_leader:
            emit_committed(self.env, records, index)

    def snapshot(self) -> bytes:
        return encode_image(self.image)

    def restore(self, snapshot: Snapshot) -> None:
        self.image = self.pending = decode_image(snapshot.data)

    def elected(self, term: int) -> None:
        self.active = True
        self.pending = self.image
        self.env.emit("controller-elected", epoch=term)
        self.on_activated()

    def deposed(self) -> None:
        self.active = False
        self.pending = self.image
        self.on_deactivated()

    def opening_entry(self, term: int) -> bytes:
        """What this controller writes first in a term that it leads."""
        return encode_batch([LeaderChange(self.env.id, term)])
