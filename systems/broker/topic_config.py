"""A topic's configuration: its own keys over the broker's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

FLUSH_EVERY_APPEND = 1


class TopicConfig(msgspec.Struct, frozen=True):
    """What the log and its replication read. Topic keys are Kafka's."""

    min_insync_replicas: int
    segment_bytes: int
    flush_messages: int
    max_message_bytes: int
    log_append_time: bool

    @property
    def flush_every_append(self) -> bool:
        return self.flush_messages == FLUSH_EVERY_APPEND


def topic_config(topic: Mapping[str, Any], broker: Mapping[str, Any]) -> TopicConfig:
    """`topic` holds the keys given at creation (as text or typed), `broker` the run's settings."""

    def value(topic_key: str, broker_key: str, default: Any) -> Any:
        given = topic.get(topic_key)
        return given if given is not None else broker.get(broker_key, default)

    return TopicConfig(
        min_insync_replicas=int(value("min.insync.replicas", "min.insync.replicas", 1)),
        segment_bytes=int(value("segment.bytes", "log.segment.bytes", 1 << 20)),
        flush_messages=int(value("flush.messages", "log.flush.interval.messages", 1 << 62)),
        max_message_bytes=int(value("max.message.bytes", "message.max.bytes", 1_048_588)),
        log_append_time=str(value("message.timestamp.type", "log.message.timestamp.type", "CreateTime"))
        == "LogAppendTime",
    )
