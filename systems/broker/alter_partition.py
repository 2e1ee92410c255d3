"""Takes the leaders' pending ISR changes to the controller (AlterPartition; semantics 2.1 rules 7 and 8)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker
from systems.broker.in_sync import InSync
from systems.broker.isr import Isr

ALTER_PARTITION = 56
VERSION = 3
TIMEOUT_MS = 1500
RETRY_S = 0.1

_REFUSED = frozenset({ErrorCode.ineligible_replica, ErrorCode.operation_not_attempted})
"""Certainly not applied, and nothing newer is on its way: the proposal is withdrawn, and may be made again."""
_SUPERSEDED = frozenset(
    {
        ErrorCode.invalid_update_version,
        ErrorCode.fenced_leader_epoch,
        ErrorCode.not_leader_or_follower,
        ErrorCode.new_leader_elected,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.unknown_topic_id,
        ErrorCode.invalid_request,
    }
)
"""The controller knows something newer, perhaps this very proposal from an earlier attempt whose answer was
lost: it stays pending, counted in the maximal ISR, until the metadata says which."""


class IsrProposals:
    """One request at a time with everything that is pending."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[str, tuple[InSync, Isr]] = {}
        self._wake = asyncio.Event()

    def propose(self, leader: InSync) -> None:
        """Sends the leader's pending ISR until there is a definite answer or the epoch is over."""
        self._waiting[leader.name] = (leader, leader.isr)
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._take():
                if not await self._send(batch):
                    await asyncio.sleep(RETRY_S)

    def _take(self) -> list[tuple[InSync, Isr]]:
        """What is still worth sending."""
        waiting, self._waiting = self._waiting, {}
        return [(leader, isr) for leader, isr in waiting.values() if leader.active and leader.isr == isr]

    async def _send(self, batch: list[tuple[InSync, Isr]]) -> bool:
        epoch = self._broker.epoch
        try:
            response = await self._broker.call_controller(self._request(batch, epoch), timeout_ms=TIMEOUT_MS)
        except (OSError, TimeoutError):
            response = None
        if response is None or response.error_code != ErrorCode.none:
            self._again(batch)
            return False
        answers = {
            (topic.topic_id.bytes if topic.topic_id else b"", partition.partition_index): partition
            for topic in response.topics
            for partition in topic.partitions
        }
        complete = True
        for leader, isr in batch:
            answer = answers.get((leader.topic_id, leader.index))
            if answer is None:
                complete = False
                self._again([(leader, isr)])
            elif answer.error_code == ErrorCode.none:
                if answer.leader_epoch == leader.leader_epoch:
                    leader.on_isr_confirmed(tuple(answer.isr), answer.partition_epoch)
            elif answer.error_code in _REFUSED:
                leader.on_isr_withdrawn(isr)
            elif answer.error_code not in _SUPERSEDED:
                complete = False
                self._again([(leader, isr)])
        return complete

    def _again(self, batch: list[tuple[InSync, Isr]]) -> None:
        for leader, isr in batch:
            self._waiting.setdefault(leader.name, (leader, isr))

    def _request(self, batch: list[tuple[InSync, Isr]], epoch: int) -> Any:
        topics: dict[bytes, list[dict[str, Any]]] = {}
        for leader, isr in batch:
            members = isr.pending or isr.committed
            topics.setdefault(leader.topic_id, []).append(
                {
                    "partition_index": leader.index,
                    "leader_epoch": leader.leader_epoch,
                    "new_isr_with_epochs": [
                        {"broker_id": member, "broker_epoch": broker_epoch}
                        for member, broker_epoch in leader.broker_epochs(members, epoch)
                    ],
                    "leader_recovery_state": 0,
                    "partition_epoch": isr.partition_epoch,
                }
            )
        return messages.request(
            ALTER_PARTITION,
            VERSION,
            broker_id=self._broker.env.id,
            broker_epoch=epoch,
            topics=[
                {"topic_id": uuid.UUID(bytes=topic_id), "partitions": partitions}
                for topic_id, partitions in topics.items()
            ],
        )
