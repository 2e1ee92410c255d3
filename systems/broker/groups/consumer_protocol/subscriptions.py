"""What the members of a consumer group are subscribed to, by name or by regular expression."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import re2
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS
from systems.broker.groups.consumer_protocol.state import ConsumerMember, TopicShape
from systems.broker.metadata import MetadataImage

_QUIET = re2.Options()
_QUIET.log_errors = False


def pattern_of(regex: str) -> Any:
    """RE2, as Kafka's: its time is bounded whatever a client asks for. Raises INVALID_REGULAR_EXPRESSION."""
    try:
        return re2.compile(regex, _QUIET)
    except re2.error as error:
        why = error.args[0].decode(errors="replace")
        raise KafkaError(ErrorCode.invalid_regular_expression, why) from error


def topics_of(member: ConsumerMember, existing: Collection[str]) -> list[str]:
    """Sorted. A regular expression must match the whole name, and finds no internal topic."""
    names = {name for name in member.subscribed if name in existing}
    if member.regex:
        pattern = pattern_of(member.regex)
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
