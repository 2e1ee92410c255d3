"""One member's next step towards its target (KIP-848; semantics 2.5).

    stable ──target without something it has──► unrevoked ──its heartbeat no longer has it──► stable or unreleased
       └────target with something that is not free──► unreleased ──it becomes free──► stable

A member takes on the target's epoch only when it has given up all that the target takes from it; and what the target adds it
is given only when nobody else has it, or may still have it.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from systems.broker.groups.consumer_protocol.state import (
    ConsumerGroup,
    ConsumerMember,
    MemberState,
    Partition,
)


def reconciled(
    group: ConsumerGroup,
    member: ConsumerMember,
    owned: Collection[Partition] | None,
    *,
    hurries: bool = False,
) -> ConsumerMember:
    """`owned`: what the member says that it holds; None where it says nothing. `hurries`: the mistake of handing out what
    its former owner was only told to give up."""
    match member.state:
        case MemberState.STABLE if member.epoch == group.assignment_epoch:
            return member
        case MemberState.UNREVOKED_PARTITIONS:
            if _holds(owned, member.revoking):
                return member
            return _step(group, member, member.epoch + 1, owned, hurries=hurries)
    return _step(group, member, member.epoch, owned, hurries=hurries)


def _step(
    group: ConsumerGroup,
    member: ConsumerMember,
    epoch: int,
    owned: Collection[Partition] | None,
    *,
    hurries: bool,
) -> ConsumerMember:
    target = group.target.get(member.id, ())
    since = dict(zip(member.assigned, member.since, strict=True))
    kept = tuple(p for p in member.assigned if p in target)
    given_up = tuple(p for p in member.assigned if p not in target)
    if given_up and _holds(owned, given_up):
        return msgspec.structs.replace(
            member,
            epoch=epoch,
            previous_epoch=member.epoch,
            state=MemberState.UNREVOKED_PARTITIONS,
            assigned=kept,
            since=tuple(since[p] for p in kept),
            revoking=given_up,
        )
    # The rule: free is what nobody has and nobody may have, not what somebody was told to give up.
    owners = {} if hurries else group.owners()
    added = tuple(p for p in target if p not in kept and owners.get(p, member.id) == member.id)
    complete = len(kept) + len(added) == len(target)
    assigned = tuple(sorted((*kept, *added)))
    return msgspec.structs.replace(
        member,
        epoch=group.assignment_epoch,
        previous_epoch=member.epoch,
        state=MemberState.STABLE if complete else MemberState.UNRELEASED_PARTITIONS,
        assigned=assigned,
        since=tuple(since.get(p, group.assignment_epoch) for p in assigned),
        revoking=(),
    )


def _holds(owned: Collection[Partition] | None, partitions: Collection[Partition]) -> bool:
    """A member that does not say what it holds may hold all of it."""
    return owned is None or any(p in owned for p in partitions)
