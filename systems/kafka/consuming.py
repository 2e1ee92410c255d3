"""A consumer: aiokafka's, behind the capability's protocol."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import ConsumerRebalanceListener
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as LibraryPartition

from harness.capabilities import EndOffset, Record, TopicPartition
from systems.kafka.assignors import assignors
from systems.kafka.consumer_membership import ConsumerMembership
from systems.kafka.end_offsets import end_offsets_by_epoch
from systems.kafka.kip890 import Member
from systems.kafka.membership import Membership
from systems.kafka.outcomes import outcomes

CLOSE_TIMEOUT_S = 2.0
_POLL_MARGIN_S = 1.0
"""Beyond its time-out a poll waits for a rebalance that is under way, in aiokafka without end."""

_NO_MEMBER: Member = (-1, "")
Told = Callable[[Sequence[TopicPartition]], None] | None


class AiokafkaConsumer:
    def __init__(
        self,
        library: Callable[..., Any],
        options: Mapping[str, Any],
        *,
        strategy: str | None = None,
        assignor: str | None = None,
    ) -> None:
        """For a member of a group: of the classic protocol with `strategy` (`partition.assignment.strategy`), of the new one
        (KIP-848), as soon as it subscribes, with `assignor` (`group.remote.assignor`). Neither leaves the library as it is."""
        self._strategy, self._assignor = strategy, assignor
        self._client_id: str = options["client_id"]
        self._membership: Membership | ConsumerMembership | None = None
        if strategy is not None:
            options = {**options, "partition_assignment_strategy": assignors(strategy, self._held)}
        self._consumer = library(**options)
        self.group: str | None = options["group_id"]
        self._subscribed = False
        self._joined: Member = _NO_MEMBER
        self._polled: Member = _NO_MEMBER

    @property
    def member(self) -> Member:
        """Who this consumer was when it polled its newest records. Not who it is now: aiokafka rebalances
        in the background, and offsets polled under a membership that is gone must be fenced."""
        return self._polled

    @property
    def membership(self) -> Member:
        """Who this consumer was when it was given the partitions that it has now."""
        return self._joined if self._membership is None else self._membership.current

    async def start(self) -> None:
        async with outcomes():
            await self._consumer.start()
        if self._strategy is not None:
            self._membership = Membership(self._consumer._coordinator, self._strategy)

    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        wanted = [LibraryPartition(*p) for p in partitions]
        async with outcomes():
            self._consumer.assign(wanted)
            for partition in wanted:
                self._consumer.seek(partition, 0)

    async def subscribe(
        self, topics: Sequence[str], *, on_assigned: Told = None, on_revoked: Told = None
    ) -> None:
        self._subscribed = True
        if self._assignor is not None and self._membership is None:
            coordinator = self._consumer._coordinator
            self._membership = ConsumerMembership(coordinator, self._client_id, assignor=self._assignor)
        listener = _Listener(self._on_assigned, on_assigned, on_revoked)
        async with outcomes():
            self._consumer.subscribe(list(topics), listener=listener)

    def assignment(self) -> tuple[TopicPartition, ...]:
        return _sorted(self._consumer.assignment())

    async def poll(self, *, timeout_ms: int, max_records: int = 500) -> list[Record]:
        found: dict[Any, list[Any]] = {}
        if isinstance(self._membership, ConsumerMembership):
            self._membership.polls()
        async with outcomes():
            try:
                async with asyncio.timeout(timeout_ms / 1000 + _POLL_MARGIN_S):
                    found = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
            except TimeoutError:
                # aiokafka takes a poll that was cancelled for one that goes on for ever, and would never again
                # leave its group for not polling (max.poll.interval.ms).
                self._consumer._subscription._fetch_count = 0
        if found:
            self._polled = self.membership
        return [
            Record(
                topic=partition.topic,
                partition=partition.partition,
                offset=record.offset,
                key=record.key,
                value=record.value or b"",
                timestamp_ms=record.timestamp,
            )
            for partition, records in found.items()
            for record in records
        ]

    async def position(self, partition: TopicPartition) -> int:
        async with outcomes():
            return int(await self._consumer.position(LibraryPartition(*partition)))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._consumer.seek(LibraryPartition(*partition), offset)

    async def committed(self, partition: TopicPartition) -> int | None:
        async with outcomes():
            offset = await self._consumer.committed(LibraryPartition(*partition))
        return None if offset is None else int(offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        async with outcomes():
            await self._consumer.commit({LibraryPartition(*p): o for p, o in sorted(offsets.items())})

    async def commit_as(self, membership: Member, offsets: Mapping[TopicPartition, int]) -> None:
        assert self._membership is not None, "only who was made a member of a group commits as one"
        async with outcomes():
            await self._membership.commit_as(
                membership,
                {LibraryPartition(*p): OffsetAndMetadata(o, "") for p, o in sorted(offsets.items())},
            )

    async def seek_to_committed(self) -> dict[TopicPartition, int]:
        """aiokafka's own leaves a partition without a committed offset where it is."""
        positions = {}
        for partition in self.assignment():
            offset = await self.committed(partition)
            if offset is None:
                offset = (await self._beginning(partition)) or 0
            if partition in self.assignment():
                self.seek(partition, offset)
                positions[partition] = offset
        return positions

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        async with outcomes():
            ends = await self._consumer.end_offsets([LibraryPartition(*p) for p in partitions])
        return {TopicPartition(*partition): int(offset) for partition, offset in sorted(ends.items())}

    async def end_offsets_by_epoch(
        self, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, EndOffset]:
        async with outcomes():
            return await end_offsets_by_epoch(self._consumer._client, partitions)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the partitions' logs begin: above 0 once retention or DeleteRecords removed something."""
        async with outcomes():
            starts = await self._consumer.beginning_offsets([LibraryPartition(*p) for p in partitions])
        return {TopicPartition(*partition): int(offset) for partition, offset in sorted(starts.items())}

    async def close(self) -> None:
        """Takes at most a few seconds, whatever the cluster does."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._consumer.stop(), CLOSE_TIMEOUT_S)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._consumer._client.close(), CLOSE_TIMEOUT_S)

    async def _beginning(self, partition: TopicPartition) -> int:
        async with outcomes():
            found = await self._consumer.beginning_offsets([LibraryPartition(*partition)])
        return int(found[LibraryPartition(*partition)])

    def _held(self) -> tuple[Sequence[TopicPartition], int]:
        return self._membership.held() if isinstance(self._membership, Membership) else ((), -1)

    def _on_assigned(self) -> None:
        coordinator = self._consumer._coordinator
        self._joined = (coordinator.generation, coordinator.member_id)


class _Listener(ConsumerRebalanceListener):
    def __init__(self, joined: Callable[[], None], assigned: Told, revoked: Told) -> None:
        self._joined = joined
        self._assigned = assigned
        self._revoked = revoked

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._joined()
        if self._assigned is not None:
            self._assigned(_sorted(assigned))

    def on_partitions_revoked(self, revoked: Any) -> None:
        if self._revoked is not None:
            self._revoked(_sorted(revoked))


def _sorted(partitions: Any) -> tuple[TopicPartition, ...]:
    return tuple(sorted(TopicPartition(*p) for p in partitions))
