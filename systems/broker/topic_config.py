"""A topic's configuration: its own keys over the broker's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from kio.schema.errors import ErrorCode

from harness.errors import UserError
from systems.broker.context import KafkaError
from systems.broker.log.retention import UNLIMITED, RetentionLimits
from systems.broker.settings import BROKER

_OVERRIDES = {
    "cleanup.policy": "log.cleanup.policy",
    "flush.messages": "log.flush.interval.messages",
    "max.message.bytes": "message.max.bytes",
    "message.timestamp.type": "log.message.timestamp.type",
    "min.insync.replicas": "min.insync.replicas",
    "retention.bytes": "log.retention.bytes",
    "retention.ms": "log.retention.ms",
    "segment.bytes": "log.segment.bytes",
    "segment.ms": "log.roll.ms",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
    "unclean.recovery.strategy": "unclean.recovery.strategy",
}
"""Each key of a topic, and the broker's that holds where the topic has none."""
_SETTINGS = {setting.name: setting for setting in BROKER}

FLUSH_EVERY_APPEND = 1
WEEK_MS = 7 * 24 * 3600 * 1000


class TopicConfig(msgspec.Struct, frozen=True):
    """What the log and its replication read. Topic keys are Kafka's."""

    min_insync_replicas: int
    segment_bytes: int
    flush_messages: int
    max_message_bytes: int
    log_append_time: bool
    deletes: bool = True
    """Whether `cleanup.policy` has `delete`."""
    retention: RetentionLimits = RetentionLimits(UNLIMITED, UNLIMITED)
    segment_ms: int = WEEK_MS

    @property
    def flush_every_append(self) -> bool:
        return self.flush_messages == FLUSH_EVERY_APPEND


def check_topic_config(topic: Mapping[str, str]) -> None:
    """Raises `INVALID_CONFIG` for a key that nothing here obeys, and for a value that the key cannot have."""
    for key, text in topic.items():
        if key not in _OVERRIDES:
            raise KafkaError(
                ErrorCode.invalid_config, f"topic key {key}: this broker knows {', '.join(_OVERRIDES)}"
            )
        try:
            _SETTINGS[_OVERRIDES[key]].parse(text)
        except UserError as error:
            raise KafkaError(ErrorCode.invalid_config, f"topic key {key}: {error}") from None


def topic_config(topic: Mapping[str, Any], broker: Mapping[str, Any]) -> TopicConfig:
    """`topic` holds the keys given at creation (as text or typed), `broker` the run's settings."""

    def value(key: str, default: Any) -> Any:
        given = topic.get(key)
        return given if given is not None else broker.get(_OVERRIDES[key], default)

    return TopicConfig(
        min_insync_replicas=int(value("min.insync.replicas", 1)),
        segment_bytes=int(value("segment.bytes", 1 << 20)),
        flush_messages=int(value("flush.messages", 1 << 62)),
        max_message_bytes=int(value("max.message.bytes", 1_048_588)),
        log_append_time=str(value("message.timestamp.type", "CreateTime")) == "LogAppendTime",
        deletes="delete" in str(value("cleanup.policy", "delete")),
        retention=RetentionLimits(
            int(value("retention.ms", WEEK_MS)), int(value("retention.bytes", UNLIMITED))
        ),
        segment_ms=int(value("segment.ms", WEEK_MS)),
    )
