"""Who leads a partition, who is in its ISR and who in its ELR (semantics 2.1 rule 9, KIP-966).

Pure functions from an image to the records that change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from systems.broker.metadata import (
    ELR_FEATURE,
    NO_LEADER,
    FenceBroker,
    MetadataImage,
    PartitionChange,
    PartitionState,
    Record,
    TopicState,
    UnfenceBroker,
    apply,
)


class Rules(msgspec.Struct, frozen=True):
    """What configuration says of elections. A topic's own keys override `config`, the brokers'."""

    config: Mapping[str, Any]
    bugs: frozenset[str] = frozenset()

    def min_isr(self, topic: TopicState, state: PartitionState) -> int:
        key = "min.insync.replicas"
        return min(int(topic.config.get(key, self.config.get(key, 1))), len(state.replicas))

    def unclean(self, topic: TopicState) -> bool:
        key = "unclean.leader.election.enable"
        return str(topic.config.get(key, self.config.get(key, False))).lower() == "true"

    def recovery_strategy(self, topic: TopicState) -> str:
        """What becomes of a partition whose ISR and ELR are both empty (`recovery.py`)."""
        key = "unclean.recovery.strategy"
        return str(topic.config.get(key, self.config.get(key, "balanced")))

    def elr(self, image: MetadataImage) -> bool:
        """Whether eligible leader replicas are kept (KIP-966). Without, the last ISR member stays in the
        ISR whatever becomes of it ("last replica standing")."""
        if "last-replica-standing" in self.bugs:
            return False
        return image.features.get(ELR_FEATURE, 0) >= 1


def fence(image: MetadataImage, rules: Rules, broker_id: int) -> list[Record]:
    """The broker is out of service: it leads nothing and is in no ISR any more (rule 1)."""
    records: list[Record] = [FenceBroker(broker_id)]
    image = apply(image, records[0], image.offset)

    def without(state: PartitionState) -> tuple[int, ...] | None:
        if broker_id not in state.isr and state.leader != broker_id:
            return None
        return tuple(b for b in state.isr if b != broker_id)

    records.extend(_changes(image, rules, without))
    return records


def unfence(image: MetadataImage, rules: Rules, broker_id: int) -> list[Record]:
    """The broker is in service: partitions without a leader may get it as theirs."""
    records: list[Record] = [UnfenceBroker(broker_id)]
    image = apply(image, records[0], image.offset)

    def leaderless(state: PartitionState) -> tuple[int, ...] | None:
        return state.isr if state.leader == NO_LEADER and broker_id in state.replicas else None

    records.extend(_changes(image, rules, leaderless))
    return records


def drop_unclean(image: MetadataImage, rules: Rules, broker_id: int) -> list[Record]:
    """The broker comes back from an unclean shutdown, perhaps without what it once had: it leaves every
    ISR and every ELR (rule 1)."""

    def without(state: PartitionState) -> tuple[int, ...] | None:
        if broker_id not in (*state.isr, *state.elr):
            return None
        return tuple(b for b in state.isr if b != broker_id)

    return list(_changes(image, rules, without, unclean=broker_id))


def _changes(
    image: MetadataImage,
    rules: Rules,
    target_isr: Callable[[PartitionState], tuple[int, ...] | None],
    unclean: int | None = None,
) -> Iterator[PartitionChange]:
    """The changed partitions; `target_isr` says None of those that are not concerned."""
    for topic in image.topics.values():
        for index, state in enumerate(topic.partitions):
            isr = target_isr(state)
            if isr is None:
                continue
            change = change_partition(image, rules, topic, index, isr=isr, unclean=unclean)
            if change is not None:
                yield change


def change_partition(
    image: MetadataImage,
    rules: Rules,
    topic: TopicState,
    index: int,
    *,
    isr: tuple[int, ...],
    unclean: int | None = None,
) -> PartitionChange | None:
    """The partition with that ISR, the ELR that follows from it, and a leader if there can be one; None
    if nothing changes. `unclean` is a broker that may have lost data.

    An election bumps leader and partition epoch, any other change the partition epoch only.
    """
    old = topic.partitions[index]
    elr_enabled = rules.elr(image)
    if not isr and not elr_enabled:
        isr = old.isr
    min_isr = rules.min_isr(topic, old)
    elr = _eligible(old, isr, min_isr, unclean, rules) if elr_enabled else ()
    last_known = _last_known(old, isr, elr, min_isr) if elr_enabled else ()
    election = _elect(image, rules, topic, old, isr, elr)
    if election.leader != NO_LEADER and election.leader not in isr:
        isr = (election.leader,)
        if election.reason == "unclean-elected":
            # From now on that replica's log is the truth, whatever the others hold.
            elr, last_known = (), ()
        elr = tuple(b for b in elr if b not in isr)
    if len(isr) >= min_isr:
        elr, last_known = (), ()
    new = PartitionState(
        replicas=old.replicas,
        leader=election.leader,
        leader_epoch=old.leader_epoch + (election.leader != old.leader),
        partition_epoch=old.partition_epoch + 1,
        isr=isr,
        elr=elr,
        last_known_elr=last_known,
    )
    if msgspec.structs.replace(new, partition_epoch=old.partition_epoch) == old:
        return None
    return PartitionChange(topic.name, index, new, election.reason or _isr_reason(old, new))


def elect_recovered(
    rules: Rules, topic: TopicState, index: int, leader: int, *, complete: bool
) -> PartitionChange:
    """Rule 9, the end of a recovery: `leader` has the log that reaches furthest, of all the last known
    members (`complete`) or only of those that could be asked. The others' logs stay worth asking for while
    the ISR is too small to commit anything."""
    old = topic.partitions[index]
    others = tuple(b for b in old.last_known_elr if b != leader)
    if not complete or rules.min_isr(topic, old) <= 1:
        others = ()
    new = PartitionState(
        replicas=old.replicas,
        leader=leader,
        leader_epoch=old.leader_epoch + 1,
        partition_epoch=old.partition_epoch + 1,
        isr=(leader,),
        last_known_elr=others,
    )
    return PartitionChange(topic.name, index, new, "recovered" if complete else "unclean-elected")


class _Election(NamedTuple):
    """`reason` is empty where the leader stays."""

    leader: int
    reason: str


def _elect(
    image: MetadataImage,
    rules: Rules,
    topic: TopicState,
    old: PartitionState,
    isr: tuple[int, ...],
    elr: tuple[int, ...],
) -> _Election:
    """Election order of rule 9: the leader that is, ISR, ELR; then nobody before the logs were compared
    (`recovery.py`), or where it is configured any replica at once."""

    def first(candidates: Iterable[int]) -> int:
        among = tuple(candidates)
        return next((b for b in old.replicas if b in among and image.unfenced(b)), NO_LEADER)

    def change(leader: int, reason: str) -> _Election:
        return _Election(leader, "" if leader == old.leader else reason)

    if old.leader in isr and image.unfenced(old.leader):
        return _Election(old.leader, "")
    if (leader := first(isr)) != NO_LEADER:
        return change(leader, "leader-elected")
    if not isr and (leader := first(elr)) != NO_LEADER:
        return change(leader, "elr-elected")
    if rules.unclean(topic) and (leader := first(old.replicas)) != NO_LEADER:
        return change(leader, "unclean-elected")
    return change(NO_LEADER, "leader-lost")


def _eligible(
    old: PartitionState, isr: tuple[int, ...], min_isr: int, unclean: int | None, rules: Rules
) -> tuple[int, ...]:
    """The ELR: while the ISR is below min.insync.replicas the high watermark stands still, so whoever left
    the ISR since then still has every committed record, unless it lost some in a crash."""
    if len(isr) >= min_isr:
        return ()
    if "elr-keeps-unclean-replica" in rules.bugs:
        unclean = None
    members = (*old.isr, *old.elr)
    return tuple(b for b in old.replicas if b in members and b not in isr and b != unclean)


def _last_known(
    old: PartitionState, isr: tuple[int, ...], elr: tuple[int, ...], min_isr: int
) -> tuple[int, ...]:
    """Who was in ISR or ELR since the ISR was last large enough, and is so no longer."""
    if len(isr) >= min_isr:
        return ()
    members = (*old.isr, *old.elr, *old.last_known_elr)
    return tuple(b for b in old.replicas if b in members and b not in isr and b not in elr)


def _isr_reason(old: PartitionState, new: PartitionState) -> str:
    if len(new.isr) < len(old.isr):
        return "isr-shrunk"
    return "isr-expanded" if len(new.isr) > len(old.isr) else "elr-changed"
