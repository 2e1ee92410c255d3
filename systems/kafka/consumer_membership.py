"""aiokafka as a member of a group of the new protocol (KIP-848), which it does not know itself.

A heartbeat carries what the member holds and brings back what it shall hold. What it has to give up it gives up when the
application polls next, as Java's consumer does: by then what it had polled is processed, and may be committed. The
heartbeat after that tells the coordinator, who hands it to somebody else only then. A member that is fenced drops everything
at once, without committing, and joins again.

Offsets are committed under the member epoch in which they were read: the coordinator takes them as long as the partition has
been the member's ever since (KIP-1251).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as LibraryPartition

from harness.capabilities import TopicPartition
from systems.kafka.consumer_protocol import (
    ConsumerGroupHeartbeat,
    OffsetCommit,
    OffsetFetch,
    Says,
    TopicIds,
    told,
    topic_ids,
)
from systems.kafka.kip890 import Member, UnstableOffsets

log = logging.getLogger(__name__)

_JOINS, _LEAVES, _LEAVES_FOR_A_WHILE = 0, -1, -2
_NONE: Member = (-1, "")
_UNSTABLE_OFFSET_COMMIT = 88
_FENCED_MEMBER_EPOCH, _UNRELEASED_INSTANCE_ID, _STALE_MEMBER_EPOCH = 110, 111, 113
_FORGETS_COORDINATOR = (kafka.GroupCoordinatorNotAvailableError, kafka.NotCoordinatorForGroupError)


class StaleMemberEpoch(kafka.GroupLoadInProgressError):
    """The coordinator is one epoch ahead of what this member has heard: ask again."""


class ConsumerMembership:
    """Takes the place of a `GroupCoordinator`'s tasks and requests."""

    def __init__(self, coordinator: Any, client_id: str, *, assignor: str) -> None:
        self._coordinator = coordinator
        self._client = coordinator._client
        self._subscriptions = coordinator._subscription
        self._instance: str | None = coordinator._group_instance_id
        self._assignor = assignor
        self._id = f"{client_id}-{uuid.uuid4().hex[:16]}"
        self._epoch = _JOINS
        self._held: list[TopicPartition] = []
        self._target: list[TopicPartition] | None = None
        """What it shall hold, where that is something else."""
        self._names: dict[uuid.UUID, str] = {}
        self._tells_all = True
        self._owned_told: list[TopicPartition] | None = None
        self._retry_s: float = coordinator._retry_backoff_ms / 1_000
        self._sooner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        coordinator._coordination_task.cancel()
        coordinator._coordination_task = asyncio.get_running_loop().create_task(self._heartbeats())
        coordinator._maybe_leave_group = self._leave
        coordinator._do_commit_offsets = self._do_commit_offsets
        coordinator._do_fetch_commit_offsets = self._do_fetch_offsets

    @property
    def current(self) -> Member:
        """Who the member is, as far as it has heard."""
        return (self._epoch, self._id) if self._epoch > _JOINS else _NONE

    def polls(self) -> None:
        """The application asks for more: it is done with what it was given before."""
        if self._target is not None:
            self._keep([p for p in self._held if p in self._target])

    async def commit_as(self, membership: Member, offsets: Any) -> None:
        await self._coordinator.commit_offsets(_Read(membership), offsets)

    # Heartbeats.

    async def _heartbeats(self) -> None:
        coordinator = self._coordinator
        while not coordinator._closing.done():
            subscription = self._subscriptions.subscription
            if subscription is None or not self._subscriptions.partitions_auto_assigned():
                await self._wait([self._subscriptions.wait_for_subscription()], None)
                continue
            try:
                await coordinator.ensure_coordinator_known()
                pause_s = await self._beat(subscription)
            except kafka.KafkaError as error:
                await coordinator._push_error_to_user(error)
                continue
            await self._wait([subscription.unsubscribe_future, self._sooner], pause_s)
            if not subscription.active:
                self._tells_all = True

    async def _wait(self, futures: list[Any], timeout_s: float | None) -> None:
        await asyncio.wait(
            [*futures, self._coordinator._closing], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )

    def _hurry(self) -> None:
        if not self._sooner.done():
            self._sooner.set_result(None)

    async def _beat(self, subscription: Any) -> float:
        """One heartbeat; how long to wait before the next."""
        coordinator = self._coordinator
        self._sooner = asyncio.get_running_loop().create_future()
        if self._subscriptions.fetcher_idle_time >= coordinator._max_poll_interval:
            if self._epoch > _JOINS:
                # An application that hangs must not keep partitions from the others.
                await self._leave()
                self._sooner = asyncio.get_running_loop().create_future()
            return self._retry_s
        owned = sorted(self._held)
        says = None
        if self._tells_all or self._epoch == _JOINS:
            timeout_ms = coordinator._rebalance_timeout_ms
            says = Says(timeout_ms, sorted(subscription.topics), self._assignor)
        request = ConsumerGroupHeartbeat(
            coordinator.group_id,
            (self._epoch, self._id),
            self._instance,
            says=says,
            owned=None if says is None and owned == self._owned_told else self._by_id(owned),
        )
        self._tells_all = True  # until the answer is there
        try:
            response = await coordinator._send_req(request)
        except kafka.KafkaError as error:
            log.info("heartbeat of %s failed: %s", self._id, error)
            return self._retry_s
        if response.error_code != 0:
            return self._refused(response.error_code)
        self._tells_all, self._owned_told = False, owned
        self._epoch = coordinator.generation = response.member_epoch
        coordinator.member_id = self._id
        assignment = told(response)
        if assignment is not None and not await self._assigned(subscription, assignment):
            self._tells_all = True
            return self._retry_s
        return 0.0 if self._sooner.done() else float(response.heartbeat_interval_ms) / 1_000

    def _refused(self, code: int) -> float:
        error = kafka.for_code(code)
        if code == _FENCED_MEMBER_EPOCH or error is kafka.UnknownMemberIdError:
            self._fenced()
            return 0.0
        if error in _FORGETS_COORDINATOR:
            self._coordinator.coordinator_dead()
        elif error is not kafka.GroupLoadInProgressError and code != _UNRELEASED_INSTANCE_ID:
            # A static member's place becomes free when the session of who has it ends.
            raise error(f"heartbeat refused with error code {code}")
        return self._retry_s

    # Partitions.

    async def _assigned(self, subscription: Any, assignment: Mapping[uuid.UUID, list[int]]) -> bool:
        """Takes what is new; what is gone it gives up when the application polls. False where topics are not known yet."""
        if any(topic not in self._names for topic in assignment):
            try:
                node = self._client.get_random_node()
                response = await self._client.send(node, TopicIds(sorted(subscription.topics)))
            except kafka.KafkaError:
                return False
            self._names |= topic_ids(response)
        if not subscription.active or any(topic not in self._names for topic in assignment):
            return False
        wanted = [
            TopicPartition(self._names[t], index) for t, indexes in assignment.items() for index in indexes
        ]
        gone = [p for p in self._held if p not in wanted]
        self._target = wanted if gone else None
        new = [p for p in wanted if p not in self._held]
        if new or self._subscriptions.reassignment_in_progress:
            self._held += new
            self._reassign()
            self._tell("on_partitions_assigned", new)
            self._hurry()
        return True

    def _keep(self, kept: list[TopicPartition]) -> None:
        gone = [p for p in self._held if p not in kept]
        self._target = None
        if gone:
            self._held = kept
            self._reassign()
            self._tell("on_partitions_revoked", gone)
            self._hurry()

    def _fenced(self) -> None:
        log.info("%s is no longer a member", self._id)
        self._epoch, self._tells_all, self._owned_told = _JOINS, True, None
        self._coordinator.generation = -1
        self._keep([])

    def _reassign(self) -> None:
        """aiokafka's assignment is replaced as a whole: what stays goes on where it is."""
        subscription = self._subscriptions.subscription
        before = subscription.assignment
        self._subscriptions.assign_from_subscribed([_library(p) for p in self._held])
        after = subscription.assignment
        for partition in sorted(after.tps & before.tps) if before is not None else ():
            state = before.state_value(partition)
            if state.has_valid_position:
                after.state_value(partition).seek(state.position)
        self._coordinator.start_commit_offsets_refresh_task(after)

    def _tell(self, what: str, partitions: Iterable[TopicPartition]) -> None:
        listener = self._subscriptions.listener
        if listener is not None:
            getattr(listener, what)([_library(p) for p in partitions])

    def _by_id(self, partitions: Iterable[TopicPartition]) -> dict[uuid.UUID, list[int]]:
        ids = {name: topic for topic, name in self._names.items()}
        found: dict[uuid.UUID, list[int]] = {}
        for topic, index in partitions:
            found.setdefault(ids[topic], []).append(index)
        return found

    async def _leave(self) -> None:
        if self._epoch <= _JOINS:
            return
        epoch = _LEAVES if self._instance is None else _LEAVES_FOR_A_WHILE
        request = ConsumerGroupHeartbeat(self._coordinator.group_id, (epoch, self._id), self._instance)
        self._fenced()
        try:
            await self._coordinator._send_req(request)
        except kafka.KafkaError as error:
            log.info("%s could not say that it leaves: %s", self._id, error)

    # Offsets.

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        if not offsets:
            return
        read = assignment if isinstance(assignment, _Read) else _Read(self.current)
        request = OffsetCommit(
            self._coordinator.group_id,
            read.membership,
            self._instance,
            {TopicPartition(*p): (o.offset, o.metadata) for p, o in offsets.items()},
        )
        response = await self._coordinator._send_req(request)
        for _, partitions, _ in response.topics:
            for _, code, _ in partitions:
                self._check(code, again=False)

    async def _do_fetch_offsets(self, partitions: Any) -> dict[Any, OffsetAndMetadata]:
        places = [TopicPartition(*p) for p in partitions]
        request = OffsetFetch(self._coordinator.group_id, self.current, places)
        response = await self._coordinator._send_req(request)
        found = {}
        for _, topics, error_code, _ in response.groups:
            self._check(error_code, again=True)
            for topic, answers, _ in topics:
                for index, offset, _, metadata, code, _ in answers:
                    self._check(code, again=True)
                    if offset >= 0:
                        found[_library(TopicPartition(topic, index))] = OffsetAndMetadata(offset, metadata)
        return found

    def _check(self, code: int, *, again: bool) -> None:
        """`again`: what was asked may be asked again by a member that has heard of its new epoch, or has joined anew."""
        if code == 0:
            return
        if code == _UNSTABLE_OFFSET_COMMIT:
            raise UnstableOffsets()
        error = kafka.for_code(code)
        if error in _FORGETS_COORDINATOR:
            self._coordinator.coordinator_dead()
        elif code == _STALE_MEMBER_EPOCH or error is kafka.UnknownMemberIdError:
            self._tells_all = True
            self._hurry()
            raise StaleMemberEpoch() if again else kafka.IllegalGenerationError()
        raise error()


class _Read(NamedTuple):
    """As which member offsets were read that are to be committed now."""

    membership: Member


def _library(partition: TopicPartition) -> LibraryPartition:
    return LibraryPartition(*partition)
