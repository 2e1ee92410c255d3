"""aiokafka 0.14 as the member of a group, extended by what correct offsets need.

- Offsets are committed under the membership (generation and member id) in which their partitions were assigned. aiokafka
  takes the membership of the moment, which its background task may have changed since: what was read under an old
  one would pass for work of the new one.
- Cooperative rebalancing (KIP-429), where the strategy asks for it: while the group rebalances a member keeps and
  reads what it holds, and only what it has to give away is revoked.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aiokafka import errors as kafka
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.protocol.commit import OffsetCommitRequest

from harness.capabilities import TopicPartition
from systems.kafka.kip890 import Member
from systems.kafka.settings import COOPERATIVE

_NO_GENERATION = -1
_FORGETS_COORDINATOR = (kafka.GroupCoordinatorNotAvailableError, kafka.NotCoordinatorForGroupError)
_FORGETS_MEMBERSHIP = (kafka.IllegalGenerationError, kafka.UnknownMemberIdError)
Told = Callable[[Iterable[TopicPartition]], None]


class Membership:
    """Takes the place of some of a `GroupCoordinator`'s methods."""

    def __init__(self, coordinator: Any, strategy: str) -> None:
        self._coordinator = coordinator
        self._cooperative = strategy == COOPERATIVE
        self._prepare, self._complete = coordinator._on_join_prepare, coordinator._on_join_complete
        coordinator._on_join_prepare = self._on_join_prepare
        coordinator._on_join_complete = self._on_join_complete
        coordinator._do_commit_offsets = self._do_commit_offsets

    def held(self) -> tuple[list[TopicPartition], int]:
        """What the member holds, and since which generation: nothing once it was told that it is out."""
        assignment = self._assignment
        if assignment is None or self._coordinator.generation == _NO_GENERATION:
            return [], _NO_GENERATION
        return [TopicPartition(*p) for p in assignment.tps], self.of(assignment)[0]

    def of(self, assignment: Any) -> Member:
        """The membership in which that assignment was given; the moment's for one made by hand."""
        known: Member | None = getattr(assignment, "membership", None)
        return (self._coordinator.generation, self._coordinator.member_id) if known is None else known

    @property
    def current(self) -> Member:
        assignment = self._assignment
        return (_NO_GENERATION, "") if assignment is None else self.of(assignment)

    async def commit_as(self, membership: Member, offsets: Any) -> None:
        await self._coordinator.commit_offsets(_Former(membership), offsets)

    @property
    def _assignment(self) -> Any:
        subscription = self._coordinator._subscription.subscription
        return None if subscription is None else subscription.assignment

    async def _on_join_prepare(self, previous: Any) -> None:
        """Eager: everything is revoked before the member asks to join. Cooperative: only if it is out already."""
        if self._cooperative and self._coordinator.generation != _NO_GENERATION:
            self._coordinator._group_subscription = None
            return
        await self._prepare(previous)

    async def _on_join_complete(self, generation: int, member_id: str, protocol: str, told: bytes) -> None:
        coordinator = self._coordinator
        subscription = coordinator._subscription
        before = None if subscription.reassignment_in_progress else self._assignment
        assigned = ConsumerProtocol.ASSIGNMENT.decode(told).partitions()
        if not self._cooperative or before is None:
            # Nothing of the original runs between its first line, which assigns, and its first wait.
            joining = self._complete(generation, member_id, protocol, told)
            await self._noting(joining, (generation, member_id))
            return
        subscription.assign_from_subscribed(assigned)
        after = self._assignment
        after.membership = (generation, member_id)
        kept = sorted(before.tps & after.tps)
        for partition in kept:
            state = before.state_value(partition)
            if state.has_valid_position:
                after.state_value(partition).seek(state.position)
        revoked = before.tps - after.tps
        if revoked:
            subscription.listener.on_partitions_revoked(revoked)
            coordinator.request_rejoin()
        await coordinator._stop_commit_offsets_refresh_task()
        coordinator.start_commit_offsets_refresh_task(after)
        subscription.listener.on_partitions_assigned(after.tps - before.tps)

    async def _noting(self, joining: Any, membership: Member) -> None:
        """The assignment that `joining` makes gets its membership before anybody can see it."""
        subscription = self._coordinator._subscription
        assign = subscription.assign_from_subscribed

        def noting(partitions: Any) -> None:
            assign(partitions)
            self._assignment.membership = membership

        subscription.assign_from_subscribed = noting
        try:
            await joining
        finally:
            subscription.assign_from_subscribed = assign

    async def _do_commit_offsets(self, assignment: Any, offsets: Any) -> None:
        if not offsets:
            return
        coordinator = self._coordinator
        by_topic = collections.defaultdict(list)
        for partition, offset in sorted(offsets.items()):
            by_topic[partition.topic].append((partition.partition, offset.offset, offset.metadata))
        membership = self.of(assignment)
        request = OffsetCommitRequest(
            coordinator.group_id,
            *membership,
            OffsetCommitRequest.DEFAULT_RETENTION_TIME,
            sorted(by_topic.items()),
        )
        response = await coordinator._send_req(request)
        codes = [code for _, partitions in response.topics for _, code in partitions]
        for error in [kafka.for_code(code) for code in codes if code != 0]:
            if error in _FORGETS_COORDINATOR:
                coordinator.coordinator_dead()
            elif error is kafka.RebalanceInProgressError:
                coordinator.request_rejoin()
            elif self._is_out(error, membership):
                coordinator.reset_generation()
            raise error()

    def _is_out(self, error: type[kafka.KafkaError], membership: Member) -> bool:
        """Whether a refusal means that this member must begin anew. While it joins, the group may be in the next
        generation already, and so will it be."""
        if membership != self.current or error not in _FORGETS_MEMBERSHIP:
            return False
        return error is kafka.UnknownMemberIdError or not self._coordinator._performed_join_prepare


class _Former(NamedTuple):
    """Stands for an assignment that is over."""

    membership: Member
