"""Whose offsets a consumer group takes (KIP-848; semantics 2.5): those of a member of the group, under its present epoch."""

from __future__ import annotations

from collections.abc import Iterable

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.groups.consumer_protocol.state import ConsumerGroup, Partition

EPOCHS_SINCE = 9
"""Version of OffsetCommit and OffsetFetch from which on a member may say its epoch."""


def check_commit(
    group: ConsumerGroup, member_id: str, epoch: int, partitions: Iterable[Partition], version: int
) -> None:
    """Without an epoch only while the group has no members (manual assignment, administration)."""
    if epoch < 0 and not group.members:
        return
    _check_member(group, member_id)
    if version < EPOCHS_SINCE:
        raise KafkaError(ErrorCode.unsupported_version, "a member of this group commits by version 9")
    _check_owner(group, member_id, epoch, partitions)


def check_transactional_commit(
    group: ConsumerGroup, member_id: str, epoch: int, partitions: Iterable[Partition]
) -> None:
    """2.4.7: as far as the client says who it is; such clients know the error of the classic groups only."""
    if epoch < 0 and not member_id:
        return
    _check_member(group, member_id)
    try:
        _check_owner(group, member_id, epoch, partitions)
    except KafkaError as error:
        raise KafkaError(ErrorCode.illegal_generation, str(error)) from error


def check_fetch(group: ConsumerGroup, member_id: str | None, epoch: int) -> None:
    """Who says nothing of itself may ask; a member that is behind must not begin where the group is."""
    if not member_id and epoch < 0:
        return
    _check_member(group, member_id or "")
    _check_epoch(group, member_id or "", epoch)


def _check_member(group: ConsumerGroup, member_id: str) -> None:
    if member_id not in group.members:
        raise KafkaError(ErrorCode.unknown_member_id)


def _check_owner(group: ConsumerGroup, member_id: str, epoch: int, partitions: Iterable[Partition]) -> None:
    """KIP-1251: an epoch before the present one does as well, for what the member has had without a break since then."""
    member = group.members[member_id]
    since = dict(zip(member.assigned, member.since, strict=True))
    if epoch > member.epoch or any(since.get(p, member.epoch) > epoch for p in partitions):
        _check_epoch(group, member_id, epoch)


def _check_epoch(group: ConsumerGroup, member_id: str, epoch: int) -> None:
    present = group.members[member_id].epoch
    if epoch != present:
        raise KafkaError(ErrorCode.stale_member_epoch, f"{member_id} is in epoch {present}, not in {epoch}")
