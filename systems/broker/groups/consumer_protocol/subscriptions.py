"""What the members of a consumer group are subscribed to, by name or by regular expression."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS
from systems.broker.groups.consumer_protocol.state import ConsumerMember, TopicShape
from systems.broker.metadata import MetadataImage


def check_regex(regex: str) -> None:
    try:
        re.compile(regex)
    except re.error as error:
        raise KafkaError(ErrorCode.invalid_regular_expression, str(error)) from error


def topics_of(member: ConsumerMember, existing: Collection[str]) -> list[str]:
    """Sorted. A regular expression must match the whole name, and finds no internal topic."""
    names = {name for name in member.subscribed if name in existing}
    if member.regex:
        pattern = re.compile(member.regex)
        names |= {
            name for name in existing if name not in (OFFSETS, TRANSACTIONS) and pattern.fullmatch(name)
        }
    return sorted(names)


def shapes(members: Iterable[ConsumerMember], image: MetadataImage) -> dict[str, TopicShape]:
    """Every topic that somebody is subscribed to and that exists, as the coordinator's metadata has it now."""
    names = sorted({name for member in members for name in topics_of(member, image.topics)})
    return {
        name: TopicShape(image.topics[name].id.hex(), len(image.topics[name].partitions)) for name in names
    }
