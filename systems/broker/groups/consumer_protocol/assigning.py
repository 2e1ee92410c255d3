"""Server-side assignors (KIP-848): who of a group shall have which partitions.

`uniform` spreads everything as evenly as the subscriptions allow and moves as little as it can; `range` gives each member a
contiguous piece of every topic, the same piece of topics with as many partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from systems.broker.groups.consumer_protocol.state import ConsumerGroup, ConsumerMember, Partition, TopicShape
from systems.broker.groups.consumer_protocol.subscriptions import topics_of

Target = dict[str, tuple[Partition, ...]]
Wanted = Mapping[str, Sequence[TopicShape]]
"""Member id -> the topics it is subscribed to that exist."""


def target_of(group: ConsumerGroup) -> Target:
    """The assignment of everybody in the group's present epoch, by its assignor."""
    wanted = {m.id: [group.topics[name] for name in topics_of(m, group.topics)] for m in _in_order(group)}
    return ASSIGNORS[group.assignor](wanted, group.target)


def uniform(wanted: Wanted, before: Mapping[str, Sequence[Partition]]) -> Target:
    may_have = {
        name: {(topic.id, index) for topic in topics for index in range(topic.partitions)}
        for name, topics in wanted.items()
    }
    has: dict[str, list[Partition]] = {}
    taken: dict[Partition, str] = {}
    for name in wanted:
        has[name] = [p for p in before.get(name, ()) if p in may_have[name] and p not in taken]
        taken.update(dict.fromkeys(has[name], name))
    for partition in sorted({p for partitions in may_have.values() for p in partitions}):
        if partition not in taken:
            _give(partition, may_have, has)
    _level(may_have, has)
    return {name: tuple(sorted(partitions)) for name, partitions in has.items()}


def by_range(wanted: Wanted, before: Mapping[str, Sequence[Partition]]) -> Target:
    found: dict[str, list[Partition]] = {name: [] for name in wanted}
    topics = {topic.id: topic for of_member in wanted.values() for topic in of_member}
    for topic_id, topic in sorted(topics.items()):
        subscribers = [name for name, of_member in wanted.items() if topic in of_member]
        share, more = divmod(topic.partitions, len(subscribers))
        start = 0
        for place, name in enumerate(subscribers):
            end = start + share + (place < more)
            found[name] += [(topic_id, index) for index in range(start, end)]
            start = end
    return {name: tuple(sorted(partitions)) for name, partitions in found.items()}


ASSIGNORS: Mapping[str, Callable[[Wanted, Mapping[str, Sequence[Partition]]], Target]] = MappingProxyType(
    {"uniform": uniform, "range": by_range}
)


def _in_order(group: ConsumerGroup) -> list[ConsumerMember]:
    """By name of the static ones, by id of the others: who comes back under its name gets the same place."""
    return sorted(group.members.values(), key=lambda m: (m.instance is None, m.instance or m.id))


def _give(
    partition: Partition, may_have: Mapping[str, set[Partition]], has: dict[str, list[Partition]]
) -> None:
    """To whom has least of those who want it."""
    name = min((n for n in has if partition in may_have[n]), key=lambda n: len(has[n]))
    has[name].append(partition)


def _level(may_have: Mapping[str, set[Partition]], has: dict[str, list[Partition]]) -> None:
    """Moves partitions from who has at least two more to who has less, until nobody can."""
    moved = True
    while moved:
        moved = False
        for poor in sorted(has, key=lambda name: len(has[name])):
            rich = max(
                (n for n in has if any(p in may_have[poor] for p in has[n])),
                key=lambda n: len(has[n]),
                default=poor,
            )
            if len(has[rich]) - len(has[poor]) < 2:
                continue
            partition = next(p for p in reversed(has[rich]) if p in may_have[poor])
            has[rich].remove(partition)
            has[poor].append(partition)
            moved = True
