"""A topic's configuration: its own keys over the broker's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from kio.schema.errors import ErrorCode

from harness.errors import UserError
from systems.broker.context import KafkaError
from systems.broker.log.cleaner import UNLIMITED_LAG_MS, CompactionLimits
from systems.broker.log.retention import UNLIMITED, RetentionLimits
from systems.broker.settings import BROKER

BROKER_KEYS = {
    "cleanup.policy": "log.cleanup.policy",
    "delete.retention.ms": "log.cleaner.delete.retention.ms",
    "flush.messages": "log.flush.interval.messages",
    "max.compaction.lag.ms": "log.cleaner.max.compaction.lag.ms",
    "max.message.bytes": "message.max.bytes",
    "message.timestamp.type": "log.message.timestamp.type",
    "min.cleanable.dirty.ratio": "log.cleaner.min.cleanable.ratio",
    "min.compaction.lag.ms": "log.cleaner.min.compaction.lag.ms",
    "min.insync.replicas": "min.insync.replicas",
    "retention.bytes": "log.retention.bytes",
    "retention.ms": "log.retention.ms",
    "segment.bytes": "log.segment.bytes",
    "segment.ms": "log.roll.ms",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
    "unclean.recovery.strategy": "unclean.recovery.strategy",
}
"""Each key of a topic, and the broker's that holds where the topic has none."""
SETTINGS = {setting.name: setting for setting in BROKER}
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")

FLUSH_EVERY_APPEND = 1
DAY_MS = 24 * 3600 * 1000
WEEK_MS = 7 * DAY_MS


class TopicConfig(msgspec.Struct, frozen=True):
    """What the log and its replication read. Topic keys are Kafka's."""

    min_insync_replicas: int
    segment_bytes: int
    flush_messages: int
    max_message_bytes: int
    log_append_time: bool
    deletes: bool = True
    """Whether `cleanup.policy` has `delete`."""
    compacts: bool = False
    """Whether it has `compact`."""
    retention: RetentionLimits = RetentionLimits(UNLIMITED, UNLIMITED)
    segment_ms: int = WEEK_MS
    compaction: CompactionLimits = CompactionLimits()

    @property
    def roll_ms(self) -> int:
        """Age at which a segment is closed: also so that a cleaner comes to it in time."""
        return min(self.segment_ms, self.compaction.max_lag_ms) if self.compacts else self.segment_ms

    @property
    def flush_every_append(self) -> bool:
        return self.flush_messages == FLUSH_EVERY_APPEND


def is_legal_topic_name(name: str) -> bool:
    return _LEGAL_NAME.fullmatch(name) is not None and name not in (".", "..")


def check_topic_config(topic: Mapping[str, str]) -> None:
    """Raises `INVALID_CONFIG` for a key that nothing here obeys, and for a value that the key cannot have."""
    for key, text in topic.items():
        if key not in BROKER_KEYS:
            raise KafkaError(
                ErrorCode.invalid_config, f"topic key {key}: this broker knows {', '.join(BROKER_KEYS)}"
            )
        try:
            SETTINGS[BROKER_KEYS[key]].parse(text)
        except UserError as error:
            raise KafkaError(ErrorCode.invalid_config, f"topic key {key}: {error}") from None


def topic_config(topic: Mapping[str, Any], broker: Mapping[str, Any]) -> TopicConfig:
    """`topic` holds the keys given at creation (as text or typed), `broker` the run's settings."""

    def value(key: str, default: Any) -> Any:
        given = topic.get(key)
        return given if given is not None else broker.get(BROKER_KEYS[key], default)

    policy = str(value("cleanup.policy", "delete"))
    return TopicConfig(
        min_insync_replicas=int(value("min.insync.replicas", 1)),
        segment_bytes=int(value("segment.bytes", 1 << 20)),
        flush_messages=int(value("flush.messages", 1 << 62)),
        max_message_bytes=int(value("max.message.bytes", 1_048_588)),
        log_append_time=str(value("message.timestamp.type", "CreateTime")) == "LogAppendTime",
        deletes="delete" in policy,
        compacts="compact" in policy,
        retention=RetentionLimits(
            int(value("retention.ms", WEEK_MS)), int(value("retention.bytes", UNLIMITED))
        ),
        segment_ms=int(value("segment.ms", WEEK_MS)),
        compaction=CompactionLimits(
            min_dirty_ratio=float(value("min.cleanable.dirty.ratio", 0.5)),
            delete_retention_ms=int(value("delete.retention.ms", DAY_MS)),
            min_lag_ms=int(value("min.compaction.lag.ms", 0)),
            max_lag_ms=int(value("max.compaction.lag.ms", UNLIMITED_LAG_MS)),
        ),
    )
