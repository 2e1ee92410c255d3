"""Sticky assignment of partitions to the members of a group (KIP-54), eager and cooperative (KIP-429).

aiokafka's own sticky assignor keeps what it was given on its class, so that all consumers of a process share it; here
every consumer has an assignor of its own. What a member holds travels in the user data of its subscription, as in
Java's `StickyAssignor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.struct import Struct
from aiokafka.protocol.types import Array, Int32, Schema, String

from harness.capabilities import TopicPartition
from systems.kafka.settings import COOPERATIVE


class _UserData(Struct):
    SCHEMA = Schema(
        ("held", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
        ("generation", Int32),
    )


class StickyAssignor:
    """`held` tells what this consumer holds at the moment, and in which generation it was given it."""

    version = 0

    def __init__(self, name: str, held: Callable[[], tuple[Iterable[TopicPartition], int]]) -> None:
        self.name = name
        self._held = held

    def metadata(self, topics: Iterable[str]) -> Any:
        partitions, generation = self._held()
        held = _UserData(_by_topic(partitions), generation).encode()
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), held)

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        topics = {m: tuple(told.subscription) for m, told in sorted(members.items())}
        every = [
            TopicPartition(topic, partition)
            for topic in sorted({t for subscribed in topics.values() for t in subscribed})
            for partition in sorted(cluster.partitions_for_topic(topic) or ())
        ]
        claims = {member: _claims(members[member].user_data) for member in topics}
        holders = _holders(claims)
        given = balanced(every, topics, holders)
        if self.name == COOPERATIVE:
            given = first_revoked(given, holders)
        return {
            member: ConsumerProtocolMemberAssignment(self.version, _by_topic(partitions), b"")
            for member, partitions in given.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        return None


def balanced(
    partitions: Iterable[TopicPartition],
    topics: Mapping[str, tuple[str, ...]],
    holders: Mapping[TopicPartition, str],
) -> dict[str, list[TopicPartition]]:
    """Member -> partitions, as even as the subscriptions (`topics` by member) allow, where as many as possible stay
    with their holder."""
    every = list(partitions)
    fewest, extra = divmod(len(every), len(topics))
    given: dict[str, list[TopicPartition]] = {member: [] for member in topics}
    rest: list[TopicPartition] = []
    for partition in every:
        holder = holders.get(partition)
        if holder is None or holder not in topics or partition.topic not in topics[holder]:
            rest.append(partition)
        elif len(given[holder]) < fewest:
            given[holder].append(partition)
        elif len(given[holder]) == fewest and extra > 0:
            given[holder].append(partition)
            extra -= 1
        else:
            rest.append(partition)
    for partition in rest:
        able = [member for member in topics if partition.topic in topics[member]]
        if able:
            given[min(able, key=lambda member: (len(given[member]), member))].append(partition)
    return {member: sorted(of_member) for member, of_member in given.items()}


def first_revoked(
    given: Mapping[str, list[TopicPartition]], holders: Mapping[TopicPartition, str]
) -> dict[str, list[TopicPartition]]:
    """KIP-429: what somebody else still holds is given to nobody in this generation. Its holder sees that it has
    lost it, lets it go, and asks for another generation, in which it is free."""
    return {
        member: [p for p in partitions if holders.get(p, member) == member]
        for member, partitions in given.items()
    }


def assignors(strategy: str, held: Callable[[], tuple[Iterable[TopicPartition], int]]) -> tuple[Any, ...]:
    """For aiokafka's `partition_assignment_strategy`."""
    if strategy == "range":
        return (RangePartitionAssignor,)
    if strategy == "roundrobin":
        return (RoundRobinPartitionAssignor,)
    return (StickyAssignor(strategy, held),)


def _claims(user_data: bytes) -> tuple[list[TopicPartition], int]:
    if not user_data:
        return [], -1
    told = _UserData.decode(user_data)
    return [TopicPartition(topic, p) for topic, partitions in told.held for p in partitions], told.generation


def _holders(claims: Mapping[str, tuple[list[TopicPartition], int]]) -> dict[TopicPartition, str]:
    """Of two members that say they hold a partition, the one of the younger generation does."""
    holders: dict[TopicPartition, tuple[int, str]] = {}
    for member, (partitions, generation) in claims.items():
        for partition in partitions:
            if partition not in holders or holders[partition][0] < generation:
                holders[partition] = generation, member
    return {partition: member for partition, (_, member) in holders.items()}


def _by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        topics.setdefault(topic, []).append(partition)
    return sorted(topics.items())
